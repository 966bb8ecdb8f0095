//! What the engine asks of a source.

use std::fmt;

use schemas::{Record, Tick};

use crate::SourceError;

/// Something that records come from. It blocks for a moment at most, and has no timely in it.
pub trait Source: Send {
    /// Takes what has come in since the last call.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot go on; bad records are no error but [`Poll::dropped`].
    fn poll(&mut self) -> Result<Poll, SourceError>;

    /// True if a record that is not taken in time is gone, as with UDP.
    fn live(&self) -> bool {
        false
    }
}

/// A part of a source that has a clock and a position of its own.
pub struct Partition {
    /// Its name within the source; empty if it is the only one.
    pub name: String,
    /// Where its records come from.
    pub source: Box<dyn Source>,
}

impl<S: Source + 'static> From<S> for Partition {
    /// The only partition of a source.
    fn from(source: S) -> Self {
        Self { name: String::new(), source: Box::new(source) }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What one call to [`Source::poll`] brought.
///
/// - ticks never go back, within a poll and from one to the next
/// - no record has a tick beyond `clock`, and none that follows has one before it
#[derive(Debug)]
pub struct Poll {
    /// Records with their ticks; frames of a link in the order of their capture.
    pub records: Vec<(Tick, Record)>,
    /// Where the source was at the end of each granule that its clock left.
    pub marks: Vec<Mark>,
    /// Records that could not be used.
    pub dropped: Vec<Dropped>,
    /// Frames that came later than their tick.
    pub n_late: u64,
    /// The partition's clock.
    pub clock: Tick,
    /// What to expect next.
    pub state: PollState,
}

/// Where to read on from, so that exactly the records from a tick on come again, at the same ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The end of a granule; what is read from here on has no earlier tick.
    pub tick: Tick,
    /// The source's own notes.
    pub position: Vec<u8>,
}

/// What to expect after a [`Poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollState {
    /// There may be more at once, or after the moment that the source waited.
    Ready,
    /// There is no more.
    End,
}

/// A record that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// A short, fixed text to count by.
    pub reason: &'static str,
    /// Where it was: a byte offset in a file, or a datagram's number.
    pub offset: u64,
}
