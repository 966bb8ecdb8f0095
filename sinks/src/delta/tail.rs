//! Accepted rows of the history that are not committed yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{Record, Tick};

/// Bytes of the rows that are returned at once.
const PART_BYTES: usize = 1 << 20;

/// Rows by table, in the order of their ticks.
pub(super) type Rows = BTreeMap<String, Vec<(Tick, Record)>>;

/// The rows that are accepted but not committed. Clones share them.
#[derive(Clone, Debug)]
pub struct DeltaTail {
    writer: Arc<str>,
    rows: Arc<Mutex<Rows>>,
}

impl DeltaTail {
    pub(super) fn new(writer: String) -> Self {
        Self { writer: writer.into(), rows: Arc::default() }
    }

    /// Returns the writer whose `txn` version is the upper of each table.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// Returns the next accepted rows of a table after a tick: all rows of some ticks. If a query reads all of
    /// them before the table, both together miss no row. Rows below the table's upper are in the table too.
    pub fn rows(&self, table: &str, after: Option<Tick>) -> Vec<(Tick, Record)> {
        let rows = self.lock();
        let rows = rows.get(table).map(Vec::as_slice).unwrap_or_default();
        let start = rows.partition_point(|(tick, _)| after.is_some_and(|after| *tick <= after));
        let (mut n_bytes, mut part) = (0, Vec::new());
        for (tick, record) in &rows[start..] {
            let is_next = part.last().is_none_or(|(last, _)| last != tick);
            if is_next && n_bytes >= PART_BYTES {
                break;
            }
            n_bytes += record.size_bytes();
            part.push((*tick, record.clone()));
        }
        part
    }

    /// Returns the tables that have such rows.
    pub fn tables(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
