//! The trait of sinks.

use std::time::Duration;

use schemas::{Record, Tick};

use crate::{Rejected, SinkError};

/// Something that records go to. Writing accepts them; committing makes them durable.
///
/// A record that the destination cannot hold is no error: it is rejected, and its dead letter goes
/// beside the destination as accepted records go to it.
///
/// After a failed call the same call is made again: a sink must not write anything twice then.
pub trait Sink: Send {
    /// Shuts out earlier runs: from here on, what they still write is not seen. Called once, when all of
    /// the run is open and before anything is written; until then an earlier run can go on.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if that fails, or if an earlier run has written since the sink was opened.
    fn fence(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Accepts the records of one tick, in their order, but for those that the destination holds
    /// already: after a restart, ticks below the upper come again. Ticks come in ascending order. Gives
    /// how many records were accepted, each frame and row as one.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; nothing of the tick was accepted then.
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError>;

    /// Makes all that was accepted durable, and with it that everything before `upper` is there.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; what was accepted is kept then.
    fn commit(&mut self, upper: Tick) -> Result<(), SinkError>;

    /// The tick up to which the destination holds everything, if it keeps anything.
    fn upper(&self) -> Option<Tick>;

    /// True if so much was accepted that it should be committed now.
    fn full(&self) -> bool {
        false
    }

    /// The longest time between two commits.
    fn commit_interval(&self) -> Duration;

    /// The records that were rejected since the last call, by writing or by committing.
    fn take_rejected(&mut self) -> Rejected {
        Rejected::new()
    }
}
