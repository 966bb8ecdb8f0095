//! The history: a Delta table for each kind of record.
//!
//! A commit appends the accepted rows of a table together with the sink's upper, as the Delta `txn`
//! version of this writer. The table has everything before its upper, so that replayed rows below it
//! are not written again. Until a row is committed, queries read it from the tail. Records that do not
//! fit their table are written to the table `rejected`. From time to time small files are compacted,
//! and files that no table uses any more are removed.
//!
//! Source: Delta Lake transaction protocol, "Transaction Identifiers".

mod forget;
mod maintenance;
mod output;
mod rejected;
mod table;
mod tail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::RecordBatch;
use schemars::JsonSchema;
use schemas::{Record, TableError, Tick, TimeSpan};
use serde::Deserialize;
use storage::Location;
use tokio::runtime::Runtime;

use crate::delta::maintenance::Maintenance;
use crate::delta::rejected::to_batch;
use crate::delta::table::{append, uppers};
use crate::rejected::{DeadLetter, NO_COLUMN};
use crate::settings::{SinkSettings, interval_mistake, path_mistake};
use crate::{OpenSink, OutputError, REJECTED_TABLE, Rejected, Sink, SinkContext, SinkError};

pub use crate::delta::forget::forget;
pub use crate::delta::tail::DeltaTail;

/// Bytes of accepted records that make a commit due at once.
const FULL_BYTES: usize = 32 * 1024 * 1024;
/// Maximum number of threads for file access. Each thread has its own memory; without a limit, a log is
/// read with as many threads as it has files. Some of the threads wait for others.
const BLOCKING_THREADS: usize = 8;

/// Settings of the `delta` sink.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaConfig {
    /// Folder of the history, or a URL of a bucket such as `s3://home/history` or `gs://home/history`, with a
    /// Delta table for each kind of record.
    pub path: Location,
    /// Maximum time between commits; "5s" by default. Queries see rows before their
    /// commit, but a checkpoint waits for the commit.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: TimeSpan,
}

fn default_commit_interval() -> TimeSpan {
    TimeSpan::from_s(5)
}

impl DeltaConfig {
    /// Opens the history; creates its folder if it is missing.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if it cannot be written.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<Delta, SinkError> {
        let place = self.path.within(context.directory);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).max_blocking_threads(BLOCKING_THREADS);
        let runtime = runtime.thread_name("delta").enable_all().build();
        let runtime =
            runtime.map_err(|source| SinkError::Open { path: place.to_path(), source })?;
        let place = runtime.block_on(place.create())?;
        let uppers = runtime.block_on(uppers(&place, &context.writer()))?;
        let commit_interval = self.commit_interval.into();
        let tail = DeltaTail::new(context.writer());
        let maintenance = Maintenance::new(runtime.handle().clone());
        Ok(Delta {
            place,
            runtime,
            commit_interval,
            uppers,
            tail,
            dead_letters: Vec::new(),
            n_bytes: 0,
            rejected: Rejected::new(),
            maintenance,
        })
    }
}

impl SinkSettings for DeltaConfig {
    fn problems(&self) -> Vec<String> {
        let interval = interval_mistake(self.commit_interval);
        let folder = self.path.folder().and_then(path_mistake);
        folder.into_iter().chain(interval).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("delta 1, {}", self.path))
    }

    fn is_served(&self) -> bool {
        true
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.to_path()]
    }

    fn leftovers(&self, directory: &Path) -> Option<String> {
        self.leftovers(directory)
    }

    fn output(&self, writer: &str, directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
        self.output(writer, directory)
    }

    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        let sink = self.open(context)?;
        let tail = Some(sink.tail());
        Ok(OpenSink { sink: Box::new(sink), tail })
    }
}

/// Delta tables in one place.
#[derive(Debug)]
pub(crate) struct Delta {
    place: Location,
    runtime: Runtime,
    commit_interval: Duration,
    /// The tick before which each table has everything.
    uppers: BTreeMap<String, Tick>,
    tail: DeltaTail,
    /// Dead letters that are not committed.
    dead_letters: Vec<DeadLetter>,
    /// Bytes of accepted records and of dead letters that are not committed.
    n_bytes: usize,
    rejected: Rejected,
    maintenance: Maintenance,
}

impl Delta {
    /// The rows that are not committed yet.
    pub(crate) fn tail(&self) -> DeltaTail {
        self.tail.clone()
    }

    /// True if a table has everything of a tick.
    fn holds(&self, table: &str, tick: Tick) -> bool {
        self.uppers.get(table).is_some_and(|upper| tick < *upper)
    }

    /// Accepts the dead letter of a record, unless the table already has it.
    fn reject(&mut self, tick: Tick, record: &Record, detail: String) {
        if self.holds(REJECTED_TABLE, tick) {
            return;
        }
        let letter = DeadLetter::new(tick, record, NO_COLUMN, detail);
        letter.count(&mut self.rejected);
        self.n_bytes += letter.n_bytes();
        self.dead_letters.push(letter);
    }

    /// Appends the dead letters.
    fn commit_rejected(&mut self, upper: Tick) -> Result<(), SinkError> {
        if self.dead_letters.is_empty() {
            return Ok(());
        }
        self.append(REJECTED_TABLE, upper, to_batch(&self.dead_letters))?;
        let n_bytes = self.dead_letters.drain(..).map(|letter| letter.n_bytes()).sum();
        self.n_bytes = self.n_bytes.saturating_sub(n_bytes);
        Ok(())
    }

    /// Appends the accepted rows of one table.
    fn commit_table(&mut self, table: &str, upper: Tick) -> Result<(), SinkError> {
        let rows = self.tail.lock().get(table).cloned().unwrap_or_default();
        let rows: Vec<_> = rows.into_iter().map(|(_, record)| record).collect();
        self.append(table, upper, Record::to_batch(&rows))?;
        self.tail.lock().remove(table);
        let n_bytes = rows.iter().map(Record::size_bytes).sum();
        self.n_bytes = self.n_bytes.saturating_sub(n_bytes);
        Ok(())
    }

    /// Appends rows to one table, together with `upper`: the table has everything before it.
    fn append(
        &mut self,
        table: &str,
        upper: Tick,
        batch: Result<RecordBatch, TableError>,
    ) -> Result<(), SinkError> {
        let place = self.place.join(table);
        let batch = batch.map_err(|source| SinkError::Table { path: place.to_path(), source })?;
        let expected = self.uppers.get(table).copied();
        let append = append(&place, self.tail.writer(), expected, upper, batch);
        let table_now = self.runtime.block_on(append)?;
        self.maintenance.added_to(&place, &table_now);
        self.uppers.insert(table.to_owned(), upper);
        Ok(())
    }
}

impl Sink for Delta {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        let mut accepted = Vec::new();
        for record in records {
            let table = record.table();
            // Tables are committed one after the other, so their uppers may differ.
            if self.holds(&table, tick) {
                continue;
            }
            match record.misfit() {
                Some(detail) => self.reject(tick, record, detail),
                None => accepted.push((table.into_owned(), record.clone())),
            }
        }
        let n_accepted = accepted.iter().map(|(_, record)| record.len()).sum();
        // A query sees all rows of a tick or none.
        let mut rows = self.tail.lock();
        for (table, record) in accepted {
            self.n_bytes += record.size_bytes();
            rows.entry(table).or_default().push((tick, record));
        }
        Ok(n_accepted)
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        // Before the records' own tables: until these have the tick, a replay rejects the records
        // again.
        self.commit_rejected(upper)?;
        self.tail.tables().iter().try_for_each(|table| self.commit_table(table, upper))
    }

    fn upper(&self) -> Option<Tick> {
        // The highest upper of all tables is the upper of the sink.
        Some(self.uppers.values().copied().max().unwrap_or(0))
    }

    fn full(&self) -> bool {
        self.n_bytes >= FULL_BYTES
    }

    fn commit_interval(&self) -> Duration {
        self.commit_interval
    }

    fn take_rejected(&mut self) -> Rejected {
        std::mem::take(&mut self.rejected)
    }
}

#[cfg(test)]
mod tests;
