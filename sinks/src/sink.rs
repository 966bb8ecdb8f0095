//! The trait of sinks.

use std::time::Duration;

use schemas::{Record, Tick};

use crate::{Rejected, SinkError};

/// A destination of records. A write accepts records, and a commit makes them durable.
///
/// A record that the destination cannot store is not an error. It is rejected, and its dead letter is
/// stored beside the destination with the same guarantees.
///
/// The engine repeats a failed call: the sink must not write a record twice then.
pub trait Sink: Send {
    /// Fences earlier runs: their later writes have no effect. Called once, when all sources and sinks
    /// of the run are open and before anything is written. Until then an earlier run can continue.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if the fence fails, or if an earlier run has written since the sink was opened.
    fn fence(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Accepts the records of one tick, in their order. Ticks arrive in ascending order. After a
    /// restart, ticks below the upper are replayed: records that the destination already has are
    /// skipped. Returns the number of accepted records; each frame and each row counts as one.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; then no record of the tick is accepted.
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError>;

    /// Makes all accepted records durable, together with `upper`: the destination has everything before
    /// it.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; then the accepted records are kept.
    fn commit(&mut self, upper: Tick) -> Result<(), SinkError>;

    /// Returns the tick before which the destination has everything; none if it stores nothing.
    fn upper(&self) -> Option<Tick>;

    /// Returns true if the accepted records are large enough for a commit now.
    fn full(&self) -> bool {
        false
    }

    /// Returns the longest time between two commits.
    fn commit_interval(&self) -> Duration;

    /// Returns the counts of records that writes and commits have rejected since the last call.
    fn take_rejected(&mut self) -> Rejected {
        Rejected::new()
    }
}
