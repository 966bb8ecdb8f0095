//! The history: a Delta table for each kind of record.
//!
//! A commit appends the accepted rows of a table together with the sink's upper: the tick up to which
//! the table holds everything, as the Delta `txn` version of this writer. What lies below the upper is
//! there already and is not written again. Until it is committed, a row can be read from the tail.
//! Now and then small files are made into larger ones, and files that no table has any more removed.
//!
//! Source: Delta Lake transaction protocol, "Transaction Identifiers".

mod forget;
mod output;
mod table;
mod tail;
mod upkeep;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::delta::table::{append, uppers};
use crate::delta::upkeep::Upkeep;
use crate::{Sink, SinkContext, SinkError};

pub use crate::delta::forget::forget;
pub use crate::delta::tail::DeltaTail;

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
        let tail = DeltaTail::new(context.writer());
        let upkeep = Upkeep::new(runtime.handle().clone());
        Ok(Delta { folder, runtime, commit_interval, uppers, tail, upkeep })
    }
}

/// Makes a file and takes it away again.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".fresnel-{}", std::process::id()));
    fs::write(&probe, [])?;
    fs::remove_file(&probe)
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
    upkeep: Upkeep,
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
        let append = append(&path, self.tail.writer(), expected, upper, batch);
        self.runtime.block_on(append)?;
        self.tail.lock().remove(&table);
        self.upkeep.added_to(&path);
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
