//! The history: a Delta table for each kind of record.
//!
//! A commit appends the accepted rows of a table together with the sink's upper: the tick up to which
//! the table holds everything, as the Delta `txn` version of this writer. What lies below the upper is
//! there already and is not written again. Until it is committed, a row can be read from the tail.
//!
//! Source: Delta Lake transaction protocol, "Transaction Identifiers".

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::{DeltaTable, DeltaTableError, ensure_table_uri};
use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::{Sink, SinkContext, SinkError};

/// Rows after which a commit is made early.
const FULL_ROWS: usize = 20_000;

/// Settings of the `delta` sink.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaConfig {
    /// Folder of the history; each kind of record has a Delta table in it.
    pub path: PathBuf,
    /// Milliseconds between commits at most; 5000 by default. Queries see rows at once all the same, but
    /// a checkpoint waits for them.
    #[serde(default = "default_commit_interval_ms")]
    pub commit_interval_ms: u32,
}

fn default_commit_interval_ms() -> u32 {
    5000
}

impl DeltaConfig {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    ///
    /// [`SinkError::Open`] if it cannot be written.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<Delta, SinkError> {
        let folder = context.directory.join(&self.path);
        let open = || {
            fs::create_dir_all(&folder)?;
            let folder = folder.canonicalize()?;
            // Refuses now, rather than at the first commit, what cannot be written.
            tempfile_in(&folder)?;
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            Ok((folder, runtime.worker_threads(1).thread_name("delta").enable_all().build()?))
        };
        let (folder, runtime) =
            open().map_err(|source| SinkError::Open { path: folder.clone(), source })?;
        let uppers = runtime.block_on(uppers(&folder, &context.writer()))?;
        let commit_interval = Duration::from_millis(self.commit_interval_ms.into());
        let tail = DeltaTail { writer: context.writer().into(), rows: Arc::default() };
        Ok(Delta { folder, runtime, commit_interval, uppers, tail })
    }
}

/// Makes a file and takes it away again.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".fresnel-{}", std::process::id()));
    fs::write(&probe, [])?;
    fs::remove_file(&probe)
}

/// Rows by table, in the order of their ticks.
type Rows = BTreeMap<String, Vec<(Tick, Record)>>;

/// The rows that are accepted but not committed. Clones share them.
#[derive(Clone, Debug)]
pub struct DeltaTail {
    writer: Arc<str>,
    rows: Arc<Mutex<Rows>>,
}

impl DeltaTail {
    /// The writer whose `txn` version tells the upper of each table.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// The rows of a table. Taken before it is read, they and the table's rows together miss nothing;
    /// those below the table's upper are in it.
    pub fn rows(&self, table: &str) -> Vec<(Tick, Record)> {
        self.lock().get(table).cloned().unwrap_or_default()
    }

    /// The tables that have such rows.
    pub fn tables(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder of Delta tables.
#[derive(Debug)]
pub(crate) struct Delta {
    folder: PathBuf,
    runtime: Runtime,
    commit_interval: Duration,
    /// The tick up to which each table holds everything.
    uppers: BTreeMap<String, Tick>,
    tail: DeltaTail,
}

impl Delta {
    /// The rows that are not committed yet.
    pub(crate) fn tail(&self) -> DeltaTail {
        self.tail.clone()
    }

    /// Appends the accepted rows of one table.
    fn commit_table(&mut self, table: String, upper: Tick) -> Result<(), SinkError> {
        let path = self.folder.join(&table);
        let rows: Vec<_> = self.tail.rows(&table).into_iter().map(|(_, record)| record).collect();
        let batch = Record::to_batch(&rows)
            .map_err(|source| SinkError::Table { path: path.clone(), source })?;
        let expected = self.uppers.get(&table).copied();
        let append = append(&path, &self.tail.writer, expected, upper, batch);
        self.runtime.block_on(append)?;
        self.tail.lock().remove(&table);
        self.uppers.insert(table, upper);
        Ok(())
    }
}

impl Sink for Delta {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        let mut rows = self.tail.lock();
        let mut n_accepted = 0;
        for record in records {
            let table = record.table();
            // Tables are committed one after the other, so that one can be further than another.
            if self.uppers.get(&*table).is_some_and(|upper| tick < *upper) {
                continue;
            }
            n_accepted += record.len();
            rows.entry(table.into_owned()).or_default().push((tick, record.clone()));
        }
        Ok(n_accepted)
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        self.tail.tables().into_iter().try_for_each(|table| self.commit_table(table, upper))
    }

    fn upper(&self) -> Option<Tick> {
        // The newest table tells how far the sink has come.
        Some(self.uppers.values().copied().max().unwrap_or(0))
    }

    fn full(&self) -> bool {
        self.tail.lock().values().map(Vec::len).sum::<usize>() >= FULL_ROWS
    }

    fn commit_interval(&self) -> Duration {
        self.commit_interval
    }
}

/// The upper of each table that is there.
async fn uppers(folder: &Path, writer: &str) -> Result<BTreeMap<String, Tick>, SinkError> {
    let mut uppers = BTreeMap::new();
    for table in tables(folder).map_err(|source| SinkError::Open { path: folder.into(), source })? {
        let path = folder.join(&table);
        let upper = async { upper(&open_table(&path).await?, writer).await };
        let upper = upper.await.map_err(|source| failed(&path, source))?;
        uppers.extend(upper.map(|upper| (table, upper)));
    }
    Ok(uppers)
}

/// The names of the tables in a folder.
fn tables(folder: &Path) -> io::Result<Vec<String>> {
    let mut tables = Vec::new();
    for table in fs::read_dir(folder)? {
        let table = table?;
        if table.path().join("_delta_log").is_dir() {
            tables.push(table.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(tables)
}

/// The table at `path`, which need not be there yet.
async fn open_table(path: &Path) -> Result<DeltaTable, DeltaTableError> {
    DeltaTable::try_from_url(ensure_table_uri(path.to_string_lossy())?).await
}

/// The tick up to which a table holds everything of a writer.
async fn upper(table: &DeltaTable, writer: &str) -> Result<Option<Tick>, DeltaTableError> {
    let Ok(state) = table.snapshot() else { return Ok(None) };
    let version = state.transaction_version(table.log_store().as_ref(), writer).await?;
    Ok(version.map(i64::unsigned_abs))
}

/// Appends to the table at `path`, unless it holds everything up to `upper` already.
async fn append(
    path: &Path,
    writer: &str,
    expected: Option<Tick>,
    new_upper: Tick,
    batch: arrow::array::RecordBatch,
) -> Result<(), SinkError> {
    let failed = |source| failed(path, source);
    let table = open_table(path).await.map_err(failed)?;
    let committed = upper(&table, writer).await.map_err(failed)?;
    if committed.is_some_and(|committed| committed >= new_upper) {
        // An earlier try got through after all.
        return Ok(());
    }
    if committed != expected {
        return Err(SinkError::Fenced { path: path.to_owned() });
    }
    // Delta's versions are signed; ticks are milliseconds and far below.
    let version = i64::try_from(new_upper).unwrap_or(i64::MAX);
    let transaction = Transaction::new(writer, version);
    let properties = CommitProperties::default().with_application_transaction(transaction);
    table.write([batch]).with_commit_properties(properties).await.map_err(failed)?;
    Ok(())
}

fn failed(path: &Path, source: DeltaTableError) -> SinkError {
    SinkError::Delta { path: path.to_owned(), source: Box::new(source) }
}
