//! Dead letters: records that a sink cannot store, kept beside its destination with the reason.
//!
//! No record ends a run. A record that the destination cannot represent is counted as dropped, and its
//! dead letter is committed exactly once, as records are.

use std::collections::BTreeMap;

use schemas::{Record, Tick};
use serde::Serialize;

/// The table of a history that contains dead letters.
pub const REJECTED_TABLE: &str = "rejected";

/// A value is out of the range of its column.
pub(crate) const NO_COLUMN: &str = "does not fit its columns";
/// The destination's format cannot represent a value.
pub(crate) const NO_FORM: &str = "cannot be encoded";

/// Numbers of rejected records by reason; each frame and each row counts as one.
pub type Rejected = BTreeMap<&'static str, u64>;

/// A record that a sink cannot store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetter {
    /// The record's tick.
    pub(crate) tick: Tick,
    /// The kind of record.
    pub(crate) kind: &'static str,
    /// Number of its frames or rows.
    pub(crate) n_records: u64,
    /// The reason of the rejection, as in the counters.
    pub(crate) reason: &'static str,
    /// The value that does not fit, or the encoder's error.
    pub(crate) detail: String,
    /// The record as JSON.
    pub(crate) record: String,
}

impl DeadLetter {
    pub(crate) fn new(tick: Tick, record: &Record, reason: &'static str, detail: String) -> Self {
        let (kind, n_records) = (record.kind().as_str(), record.len() as u64);
        Self { tick, kind, n_records, reason, detail, record: text(record) }
    }

    /// Bytes of `detail` and `record`.
    pub(crate) fn n_bytes(&self) -> usize {
        self.detail.len() + self.record.len()
    }

    /// Adds its records to the counts.
    pub(crate) fn count(&self, rejected: &mut Rejected) {
        *rejected.entry(self.reason).or_default() += self.n_records;
    }
}

/// Formats a record as JSON, or for debugging if JSON cannot represent it.
pub(crate) fn text(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_else(|_| format!("{record:?}"))
}
