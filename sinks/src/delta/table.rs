//! One Delta table: its upper, and rows that are appended together with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::write::SchemaMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use schemas::Tick;
use schemas::history::tables_in;

use crate::SinkError;
use crate::delta::durable_store::{DurableStore, make_folder, sync_names};

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
    folder: &Path,
    writer: &str,
) -> Result<BTreeMap<String, Tick>, SinkError> {
    let mut uppers = BTreeMap::new();
    for table in
        tables_in(folder).map_err(|source| SinkError::Open { path: folder.into(), source })?
    {
        let path = folder.join(&table);
        sync_names(&path).map_err(|source| SinkError::Open { path: path.clone(), source })?;
        let upper = async { upper(&open(&path).await?, writer).await };
        let upper = upper.await.map_err(|source| failed(&path, source))?;
        uppers.extend(upper.map(|upper| (table, upper)));
    }
    Ok(uppers)
}

/// Opens the table at `path`, which may not exist yet.
pub(super) async fn open(path: &Path) -> Result<DeltaTable, DeltaTableError> {
    let url = ensure_table_uri(path.to_string_lossy())?;
    let store = Arc::new(DurableStore::default());
    let table = DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(store, url);
    let mut table = table.build()?;
    match table.load().await {
        Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
        Err(error) => Err(error),
    }
}

/// Reads the tick before which a table has everything of a writer.
async fn upper(table: &DeltaTable, writer: &str) -> Result<Option<Tick>, DeltaTableError> {
    let Ok(state) = table.snapshot() else { return Ok(None) };
    let version = state.transaction_version(table.log_store().as_ref(), writer).await?;
    Ok(version.map(i64::unsigned_abs))
}

/// Appends rows to the table at `path`, unless the table already has everything before `new_upper`.
pub(super) async fn append(
    path: &Path,
    writer: &str,
    expected: Option<Tick>,
    new_upper: Tick,
    batch: arrow::array::RecordBatch,
) -> Result<(), SinkError> {
    let not_written = |source| SinkError::Write { path: path.to_owned(), source };
    make_folder(path).map_err(not_written)?;
    let failed = |source| failed(path, source);
    let table = open(path).await.map_err(failed)?;
    let committed = upper(&table, writer).await.map_err(failed)?;
    if committed.is_some_and(|committed| committed >= new_upper) {
        // An earlier attempt succeeded, but its files may not be on the disk yet.
        return sync_names(path).map_err(not_written);
    }
    if committed.is_none() && expected.is_some() {
        return Err(SinkError::Removed { path: path.to_owned() });
    }
    if committed != expected {
        return Err(SinkError::Fenced { path: path.to_owned() });
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
    write.with_configuration(PROPERTIES).await.map_err(failed)?;
    Ok(())
}

pub(super) fn failed(path: &Path, source: DeltaTableError) -> SinkError {
    SinkError::Delta { path: path.to_owned(), source: Box::new(source) }
}
