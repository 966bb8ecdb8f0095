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
use schemas::{Record, RecordKind, Tick};
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
    /// Seconds between commits at most; 5 by default. Queries see rows at once all the same.
    #[serde(default = "default_commit_interval_s")]
    pub commit_interval_s: u32,
}

fn default_commit_interval_s() -> u32 {
    5
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
        match open() {
            Ok((folder, runtime)) => Ok(Delta {
                folder,
                runtime,
                commit_interval: Duration::from_secs(self.commit_interval_s.into()),
                tail: DeltaTail { writer: context.writer.into(), rows: Arc::default() },
            }),
            Err(source) => Err(SinkError::Open { path: folder, source }),
        }
    }
}

/// Makes a file and takes it away again.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".fresnel-{}", std::process::id()));
    fs::write(&probe, [])?;
    fs::remove_file(&probe)
}

/// Rows by table, in the order of their ticks.
type Rows = BTreeMap<RecordKind, Vec<(Tick, Record)>>;

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

    /// The rows of a kind. Taken before a table is read, they and the table's rows together miss
    /// nothing; those below the table's upper are in it.
    pub fn rows(&self, kind: RecordKind) -> Vec<(Tick, Record)> {
        self.lock().get(&kind).cloned().unwrap_or_default()
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
    tail: DeltaTail,
}

impl Delta {
    /// The rows that are not committed yet.
    pub(crate) fn tail(&self) -> DeltaTail {
        self.tail.clone()
    }

    /// Appends the accepted rows of one table.
    fn commit_table(&self, kind: RecordKind, upper: Tick) -> Result<(), SinkError> {
        let path = self.folder.join(kind.table());
        let rows: Vec<_> = self.tail.rows(kind).into_iter().map(|(_, record)| record).collect();
        let batch = kind
            .to_batch(&rows)
            .map_err(|source| SinkError::Table { path: path.clone(), source })?;
        let append = append(&path, &self.tail.writer, upper, batch);
        self.runtime
            .block_on(append)
            .map_err(|source| SinkError::Delta { path, source: Box::new(source) })?;
        self.tail.lock().remove(&kind);
        Ok(())
    }
}

impl Sink for Delta {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<(), SinkError> {
        let mut rows = self.tail.lock();
        for record in records {
            rows.entry(record.kind()).or_default().push((tick, record.clone()));
        }
        Ok(())
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        let kinds: Vec<_> = self.tail.lock().keys().copied().collect();
        kinds.into_iter().try_for_each(|kind| self.commit_table(kind, upper))
    }

    fn full(&self) -> bool {
        self.tail.lock().values().map(Vec::len).sum::<usize>() >= FULL_ROWS
    }

    fn commit_interval(&self) -> Duration {
        self.commit_interval
    }
}

/// Appends to the table at `path`, unless it holds everything up to `upper` already.
async fn append(
    path: &Path,
    writer: &str,
    upper: Tick,
    batch: arrow::array::RecordBatch,
) -> Result<(), DeltaTableError> {
    let uri = ensure_table_uri(path.to_string_lossy())?;
    let table = DeltaTable::try_from_url(uri).await?;
    // Delta's versions are signed; ticks are milliseconds and far below.
    let version = i64::try_from(upper).unwrap_or(i64::MAX);
    if let Ok(state) = table.snapshot() {
        let log_store = table.log_store();
        let committed = state.transaction_version(log_store.as_ref(), writer).await?;
        if committed.is_some_and(|committed| committed >= version) {
            return Ok(());
        }
    }
    let transaction = Transaction::new(writer, version);
    let properties = CommitProperties::default().with_application_transaction(transaction);
    table.write([batch]).with_commit_properties(properties).await?;
    Ok(())
}
