//! Dead letters: the records that a sink cannot hold, kept beside its destination with the reason.
//!
//! No record ends a run: one that a destination has no form for is counted as dropped, and its dead
//! letter is committed exactly once, as records are.

use std::collections::BTreeMap;
use std::error::Error;

use schemas::{Record, Tick};
use serde::Serialize;

/// The table of a history that dead letters go to.
pub const REJECTED_TABLE: &str = "rejected";

/// A value is beyond what its column takes.
pub(crate) const NO_COLUMN: &str = "does not fit its columns";
/// The destination's format has no form for a value.
pub(crate) const NO_FORM: &str = "cannot be encoded";

/// Records that were rejected, each frame and row as one, by reason.
pub type Rejected = BTreeMap<&'static str, u64>;

/// A record that a sink cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetter {
    /// The record's tick.
    pub(crate) tick: Tick,
    /// The kind of record.
    pub(crate) kind: &'static str,
    /// Frames or rows that it has.
    pub(crate) n_records: u64,
    /// Why it was rejected, as counters have it.
    pub(crate) reason: &'static str,
    /// Which value it was, or what the encoder said.
    pub(crate) detail: String,
    /// The record as JSON.
    pub(crate) record: String,
}

impl DeadLetter {
    pub(crate) fn new(tick: Tick, record: &Record, reason: &'static str, detail: String) -> Self {
        let (kind, n_records) = (record.kind().as_str(), record.len() as u64);
        Self { tick, kind, n_records, reason, detail, record: text(record) }
    }

    /// Bytes of its text.
    pub(crate) fn n_bytes(&self) -> usize {
        self.detail.len() + self.record.len()
    }

    /// Counts it.
    pub(crate) fn count(&self, rejected: &mut Rejected) {
        *rejected.entry(self.reason).or_default() += self.n_records;
    }
}

/// A record as JSON, or as programmers see it if it has no form there.
pub(crate) fn text(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_else(|_| format!("{record:?}"))
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
