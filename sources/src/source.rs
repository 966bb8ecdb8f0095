//! The trait of sources.

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

    /// True if it is read from its beginning although an earlier run has noted a position, because that is
    /// of something else.
    fn begins_anew(&self) -> bool {
        false
    }

    /// Says that everything before a tick is in every checkpoint that is kept: no run will ask for it
    /// again.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if what is not needed any more cannot be removed.
    fn checkpointed_through(&mut self, _tick: Tick) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Something that takes in what cannot be asked for again, and keeps it for a [`Source`] to read. It
/// blocks for a moment at most, and is never held back.
pub trait Receiver: Send {
    /// Takes what has come in since the last call.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot go on.
    fn receive(&mut self) -> Result<(), SourceError>;
}

/// A part of a source that is read by itself. Devices that are found while it is read may be partitions
/// within it, with a clock and a position each.
pub struct Partition {
    /// Its number within the source.
    pub number: usize,
    /// Its name within the source; empty if it is the only one.
    pub name: String,
    /// The transport.
    pub source: Box<dyn Source>,
    /// Fills what the source reads, if it does not fill itself.
    pub receiver: Option<Box<dyn Receiver>>,
}

impl Partition {
    /// The only partition of a source.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { number: 0, name: String::new(), source, receiver: None }
    }
}

impl<S: Source + 'static> From<S> for Partition {
    /// The only partition of a source.
    fn from(source: S) -> Self {
        Self::new(Box::new(source))
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The partitions of a source that one process of several opens: one of each `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The first of them.
    pub nth: usize,
    /// Number of processes.
    pub of: usize,
}

impl Share {
    /// All partitions.
    pub const ALL: Self = Self { nth: 0, of: 1 };

    /// True if a partition is among them.
    pub fn has(&self, partition: usize) -> bool {
        partition % self.of == self.nth
    }
}

/// The result of [`Source::poll`].
///
/// - ticks never go back, within a poll and from one to the next
/// - no record has a tick beyond `clock`, and none that follows has one before it
/// - the records of a partition's tick leave together
#[derive(Debug)]
pub struct Poll {
    /// Records with their ticks, which are over.
    pub records: Vec<(Tick, Record)>,
    /// Records that came in, each frame and each row as one; some may leave with a later poll.
    pub n_records: u64,
    /// The positions of its partitions at the end of each granule that their clocks left.
    pub positions: Vec<PartitionPosition>,
    /// Records that could not be used.
    pub dropped: Vec<Dropped>,
    /// Frames that came later than their tick.
    pub n_late: u64,
    /// The partition's clock; of several, the slowest.
    pub clock: Tick,
    /// The state of the source.
    pub state: PollState,
}

impl Poll {
    /// True if nothing came in, nothing left, and no position was noted.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing_left = self.records.is_empty() && self.positions.is_empty();
        nothing_left && self.n_records == 0 && self.dropped.is_empty()
    }

    /// Adds what another partition gave.
    pub(crate) fn join(&mut self, other: Self) {
        self.records.extend(other.records);
        self.positions.extend(other.positions);
        self.dropped.extend(other.dropped);
        self.n_records += other.n_records;
        self.n_late += other.n_late;
    }
}

/// Where to read a partition on from, so that exactly its records from a tick on come again, at the same
/// ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPosition {
    /// The partition's name within the source.
    pub partition: String,
    /// The end of a granule; what is read from here on has no earlier tick.
    pub tick: Tick,
    /// The source's own notes; none if the partition is no more.
    pub position: Option<Vec<u8>>,
}

/// The state of a source after a [`Poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollState {
    /// There may be more at once, or after the moment that the source waited.
    Ready,
    /// There is no more.
    End,
}

/// Records that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// A short, fixed text to count by.
    pub reason: &'static str,
    /// Number.
    pub n_records: u64,
    /// The offset: of a byte in a file, or of a message.
    pub offset: u64,
}
