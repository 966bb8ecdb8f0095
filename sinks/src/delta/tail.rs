//! Accepted rows of the history that are not committed yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{Record, Tick};

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

    /// Returns the accepted rows of a table. If a query reads them before the table, both together miss
    /// no row. Rows below the table's upper are in the table too.
    pub fn rows(&self, table: &str) -> Vec<(Tick, Record)> {
        self.lock().get(table).cloned().unwrap_or_default()
    }

    /// Returns the tables that have such rows.
    pub fn tables(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
