//! Compaction and vacuum of tables, concurrently with commits.
//!
//! Readers see the table before or after a compaction. Removed files stay for an hour, for queries that have
//! begun.
//!
//! Memory does not grow with the size of files: they are read one by one, a few rows at a time, and
//! written in row groups of a few megabytes. A row group is in memory as a whole, with the buffers that
//! its columns need for compression, when it is written and when it is read.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use deltalake::delta_datafusion::DeltaSessionContext;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::{DeltaTable, DeltaTableError};
use storage::Location;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Files that are added to a table before it is compacted.
const FILES: usize = 64;
/// Files of this size are not compacted.
const LARGE_BYTES: NonZeroU64 = NonZeroU64::new(64 * 1024 * 1024).expect("it is not zero");
/// The size of a compacted file as a multiple of the files that were added. With a larger multiple each
/// row is rewritten more often, and each rewrite leaves a file to be vacuumed.
const GROWTH: u64 = 8;
/// Bytes of a row group.
const ROW_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Rows that are read at a time; a row of `csi` can have hundreds of kilobytes.
const BATCH_ROWS: usize = 128;

/// Maintains the tables of a sink, one at a time.
#[derive(Debug)]
pub(super) struct Maintenance {
    runtime: Handle,
    /// Files that were added to each table since its last maintenance.
    n_added: BTreeMap<Location, usize>,
    under_way: Option<JoinHandle<()>>,
}

impl Maintenance {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, n_added: BTreeMap::new(), under_way: None }
    }

    /// Counts a file that was added to a table, and starts maintenance after many; files of earlier runs
    /// count.
    pub(super) fn added_to(&mut self, place: &Location, table: &DeltaTable) {
        let n_before = || place.n_files(table).saturating_sub(1);
        let n_added = self.n_added.entry(place.clone()).or_insert_with(n_before);
        *n_added += 1;
        let busy = self.under_way.as_ref().is_some_and(|task| !task.is_finished());
        if *n_added < FILES || busy {
            return;
        }
        *n_added = 0;
        let place = place.clone();
        self.under_way = Some(self.runtime.spawn(async move {
            if let Err(error) = maintain(&place).await {
                tracing::warn!(%error, table = %place, "could not compact the table; trying again after more commits");
            }
        }));
    }
}

/// Compacts small files. Removes files that no version of the last hour uses, and files of killed
/// writers.
async fn maintain(place: &Location) -> Result<(), DeltaTableError> {
    let table = place.open().await?;
    let target_size = target_size(newest_sizes(&table)?);
    let compact = table
        .optimize()
        .with_target_size(target_size)
        .with_max_concurrent_tasks(1)
        .with_writer_properties(writer_properties())
        .with_session_state(Arc::new(session()?.state()));
    let (table, _) = compact.await?;
    table.vacuum().with_mode(VacuumMode::Full).await?;
    // Listings leave these files out, so that vacuum does not see them.
    Ok(place.remove_abandoned_files()?)
}

/// Bytes of each file that was added since the last maintenance.
fn newest_sizes(table: &DeltaTable) -> Result<Vec<u64>, DeltaTableError> {
    // The log lists its newest files first.
    let newest = table.snapshot()?.snapshot().try_log_data()?.into_iter().take(FILES);
    Ok(newest.map(|file| file.size().unsigned_abs()).collect())
}

/// Bytes of compacted files. With one size for all tables, a slowly growing table would be rewritten as
/// a whole each time.
fn target_size(added: impl IntoIterator<Item = u64>) -> NonZeroU64 {
    let n_bytes = added.into_iter().fold(0, u64::saturating_add).saturating_mul(GROWTH);
    NonZeroU64::new(n_bytes).map_or(LARGE_BYTES, |target| target.min(LARGE_BYTES))
}

fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

/// A session that reads one file at a time.
fn session() -> Result<DeltaSessionContext, DeltaTableError> {
    let settings = [("batch_size", BATCH_ROWS), ("target_partitions", 1)];
    let settings = settings
        .map(|(setting, value)| (format!("datafusion.execution.{setting}"), value.to_string()));
    DeltaSessionContext::new_with_session_overrides(&HashMap::from(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_grow_with_what_is_added_up_to_a_bound() {
        assert_eq!(target_size([1000; FILES]).get(), 1000 * FILES as u64 * GROWTH);
        assert_eq!(target_size([1 << 20; FILES]), LARGE_BYTES);
        assert_eq!(target_size([u64::MAX, 1]), LARGE_BYTES, "a log can say anything");
        assert_eq!(target_size([]), LARGE_BYTES);
    }
}
