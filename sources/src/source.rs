//! The trait of sources.

use std::fmt;

use schemas::{Record, Tick};

use crate::SourceError;

/// A source of records. A call blocks for a moment at most. The trait does not depend on timely.
pub trait Source: Send {
    /// Returns the records that have arrived since the last call.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot continue. Bad records are not an error: they are in
    /// [`Poll::dropped`].
    fn poll(&mut self) -> Result<Poll, SourceError>;

    /// True if the source is read from its beginning although an earlier run saved a position, because the
    /// position belongs to other data.
    fn begins_anew(&self) -> bool {
        false
    }

    /// Reports that everything before a tick is in every checkpoint that is kept. No run reads it again.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if data that is not needed any more cannot be removed.
    fn checkpointed_through(&mut self, _tick: Tick) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Receives messages that cannot be requested again, and stores them for a [`Source`] to read. A call
/// blocks for a moment at most. Back-pressure never stops a receiver.
pub trait Receiver: Send {
    /// Stores the messages that have arrived since the last call.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the receiver cannot continue.
    fn receive(&mut self) -> Result<(), SourceError>;
}

/// A part of a source that is read by itself. Devices that are found while it is read may be partitions
/// within it, each with a clock and a position.
pub struct Partition {
    /// Its number within the source.
    pub number: usize,
    /// Its name within the source; empty if it is the only one.
    pub name: String,
    /// The reader of the partition.
    pub source: Box<dyn Source>,
    /// Stores the messages that `source` reads, if the transport pushes them.
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

/// The partitions of a source that one of several processes opens: every `of`-th partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number of the first partition.
    pub nth: usize,
    /// Number of processes.
    pub of: usize,
}

impl Share {
    /// All partitions.
    pub const ALL: Self = Self { nth: 0, of: 1 };

    /// True if a partition is in the share.
    pub fn has(&self, partition: usize) -> bool {
        partition % self.of == self.nth
    }
}

/// The result of [`Source::poll`].
///
/// - ticks never go back, within a poll and from one poll to the next
/// - no record has a tick beyond `clock`, and no later record has a tick before it
/// - the records of a partition's tick are returned when the tick is closed, full batches earlier
#[derive(Debug)]
pub struct Poll {
    /// Records of closed ticks and full batches, with their ticks.
    pub records: Vec<(Tick, Record)>,
    /// Records that arrived; each frame and each row counts as one. A later poll may return some of them.
    pub n_records: u64,
    /// The positions of the source's partitions at the end of each granule that their clocks passed.
    pub positions: Vec<PartitionPosition>,
    /// Records that could not be used.
    pub dropped: Vec<Dropped>,
    /// Number of late records.
    pub n_late: u64,
    /// The partition's clock; with several partitions, the slowest clock.
    pub clock: Tick,
    /// The state of the source.
    pub state: PollState,
}

impl Poll {
    /// True if no record arrived or was emitted, and no position was recorded.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing_left = self.records.is_empty() && self.positions.is_empty();
        nothing_left && self.n_records == 0 && self.dropped.is_empty()
    }

    /// Adds the records, positions and counts of another partition; the clock and the state stay.
    pub(crate) fn join(&mut self, other: Self) {
        self.records.extend(other.records);
        self.positions.extend(other.positions);
        self.dropped.extend(other.dropped);
        self.n_records += other.n_records;
        self.n_late += other.n_late;
    }
}

/// The position of a partition. A replay from it returns exactly the partition's records from a tick on, at
/// the same ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPosition {
    /// The partition's name within the source.
    pub partition: String,
    /// The end of a granule. Records from here on have no earlier tick.
    pub tick: Tick,
    /// The encoded position; none if the partition has ended.
    pub position: Option<Vec<u8>>,
}

/// The state of a source after a [`Poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollState {
    /// There may be more records, now or later.
    Ready,
    /// There are no more records.
    End,
}

/// Records that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The drop reason: a short, fixed text, by which drops are counted.
    pub reason: &'static str,
    /// Number of records.
    pub n_records: u64,
    /// The offset of a byte in a file, or of a message.
    pub offset: u64,
}
