//! One Delta table: its upper, and rows that are appended together with it.

use std::collections::BTreeMap;

use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::write::SchemaMode;
use deltalake::{DeltaTable, DeltaTableError};
use schemas::Tick;
use storage::Location;

use crate::SinkError;

/// Properties of new tables.
const PROPERTIES: [(&str, Option<&str>); 4] = [
    // Appended rows do not conflict with concurrent changes of other rows. The case of the value
    // matters to some implementations.
    ("delta.isolationLevel", Some("writeSerializable")),
    // A commit reads every file of the log since the newest checkpoint, all at once and each on a
    // thread. With few files, its memory, threads and processor time stay small.
    ("delta.checkpointInterval", Some("10")),
    // A commit lists the log, and a checkpoint lists each removed file: neither may grow with the age
    // of the table.
    ("delta.logRetentionDuration", Some("interval 1 hours")),
    ("delta.deletedFileRetentionDuration", Some("interval 1 hours")),
];
/// Marks a commit that only appends.
const BLIND_APPEND: &str = "isBlindAppend";

/// Reads the upper of each existing table.
pub(super) async fn uppers(
    place: &Location,
    writer: &str,
) -> Result<BTreeMap<String, Tick>, SinkError> {
    let mut uppers = BTreeMap::new();
    for table in place.tables().await? {
        let place = place.join(&table);
        let open = |source| SinkError::Open { path: place.to_path(), source };
        place.settle_table().map_err(open)?;
        let upper = async { upper(&place.open().await?, writer).await };
        let upper = upper.await.map_err(|source| failed(&place, source))?;
        uppers.extend(upper.map(|upper| (table, upper)));
    }
    Ok(uppers)
}

/// Reads the tick before which a table has everything of a writer.
async fn upper(table: &DeltaTable, writer: &str) -> Result<Option<Tick>, DeltaTableError> {
    let Ok(state) = table.snapshot() else { return Ok(None) };
    let version = state.transaction_version(table.log_store().as_ref(), writer).await?;
    Ok(version.map(i64::unsigned_abs))
}

/// Appends rows to the table at `place`, unless the table already has everything before `new_upper`. Returns the
/// table.
pub(super) async fn append(
    place: &Location,
    writer: &str,
    expected: Option<Tick>,
    new_upper: Tick,
    batch: arrow::array::RecordBatch,
) -> Result<DeltaTable, SinkError> {
    let not_written = |source| SinkError::Write { path: place.to_path(), source };
    place.prepare_table().map_err(not_written)?;
    let failed = |source| failed(place, source);
    let table = place.open().await.map_err(failed)?;
    let committed = upper(&table, writer).await.map_err(failed)?;
    if committed.is_some_and(|committed| committed >= new_upper) {
        // An earlier attempt succeeded, but its files may not be on the disk yet.
        place.settle_table().map_err(not_written)?;
        return Ok(table);
    }
    if committed.is_none() && expected.is_some() {
        return Err(SinkError::Removed { path: place.to_path() });
    }
    if committed != expected {
        return Err(SinkError::Fenced { path: place.to_path() });
    }
    // Delta's versions are signed; ticks are milliseconds and far below.
    let version = i64::try_from(new_upper).unwrap_or(i64::MAX);
    let transaction = Transaction::new(writer, version);
    let properties = CommitProperties::default()
        .with_application_transaction(transaction)
        // A cleanup lists the whole log; compaction does it for many commits.
        .with_cleanup_expired_logs(Some(false))
        .with_metadata([(BLIND_APPEND.to_owned(), true.into())]);
    // New fields of a source become new columns of the table; rows without them have nulls.
    let write = table.write([batch]).with_schema_mode(SchemaMode::Merge);
    let write = write.with_commit_properties(properties);
    write.with_configuration(PROPERTIES).await.map_err(failed)
}

pub(super) fn failed(place: &Location, source: DeltaTableError) -> SinkError {
    SinkError::Delta { path: place.to_path(), source: Box::new(source) }
}
