//! Demultiplexes the messages of several devices. Each message is decoded in the partition of its sender,
//! and the records of all partitions are emitted in the order of their ticks.

use schemas::{Record, SourceKind, Tick};

use crate::Clock;
use crate::journal::Entry;
use crate::partitions::aligned::JITTER_NS;
use crate::partitions::device_partitions::DevicePartitions;
use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::{Decoding, PartitionDecoder};
use crate::{Poll, PollState, SourceError};

/// Drop reason of messages that the journal or the system dropped for lack of room.
const LOST: &str = "lost before it was read";

/// Decodes messages in the partitions of their senders, and merges the records.
pub(crate) struct DeviceDemux {
    partitions: DevicePartitions,
    decoding: Decoding,
    timing: Timing,
    /// The latest clock of all partitions.
    clock: Tick,
    /// The arrival time of the latest message.
    arrived_at_ns: i64,
    /// Records beyond the clock of the slowest partition.
    waiting: Vec<(Tick, Record)>,
}

/// Settings of the clocks of partitions.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// True if clocks follow the arrival times of messages, rather than the messages' own times.
    arrival: bool,
    /// True if each device has its own clock; otherwise all clocks are equal to the latest.
    aligned: bool,
}

impl Timing {
    fn of(clock: Option<Clock>) -> Self {
        Self { arrival: clock != Some(Clock::Device), aligned: clock == Some(Clock::Aligned) }
    }

    /// The earliest capture time of a message with this arrival time.
    fn earliest_ns(self, arrived_at_ns: i64) -> i64 {
        arrived_at_ns.saturating_sub(if self.aligned { JITTER_NS } else { 0 })
    }

    /// Advances a partition's clock before messages with this arrival time are read. So events have the
    /// same ticks, whether time passed or the next message was read at once. `furthest` is the latest clock
    /// of all partitions.
    fn advance(self, messages: &mut PartitionDecoder, furthest: Tick, arrived_at_ns: i64) {
        let now_ns = self.earliest_ns(arrived_at_ns);
        messages.tell_silences(now_ns);
        if self.arrival {
            messages.collector.advance_to(now_ns);
        } else {
            // The partitions share one clock, so no record is before an earlier message.
            messages.collector.advance_to_tick(furthest);
        }
    }
}

impl DeviceDemux {
    /// Continues at the positions of an earlier run; otherwise at `start`.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        start: u64,
    ) -> Result<Self, SourceError> {
        let timing = Timing::of(ingress.clock);
        // Presence is derived from the arrival times of frames.
        let partitions = DevicePartitions::open(ingress, kind, start, timing.arrival)?;
        let (decoding, clock) = (Decoding::open(ingress), partitions.furthest_clock());
        let (arrived_at_ns, waiting) = (i64::MIN, Vec::new());
        Ok(Self { partitions, decoding, timing, clock, arrived_at_ns, waiting })
    }

    /// The offset to continue at.
    pub(crate) fn offset(&self) -> u64 {
        self.partitions.offset()
    }

    /// The partition of unknown senders, if clocks follow the messages' own times.
    pub(crate) fn timed(&mut self) -> Option<&mut PartitionDecoder> {
        (!self.timing.arrival).then_some(&mut self.partitions.rest)
    }

    /// Decodes a message, and returns its number of frames and bad records.
    pub(crate) fn take(&mut self, entry: &Entry<'_>) -> Result<usize, SourceError> {
        let Entry { offset, next, arrived_at_ns, origin, message, .. } = *entry;
        self.arrived_at_ns = arrived_at_ns;
        self.count_lost(entry);
        self.clock = self.clock.max(self.partitions.rest.collector.clock());
        let (timing, clock) = (self.timing, self.clock);
        let Some(messages) = self.partitions.of(origin.sender, offset) else { return Ok(0) };
        messages.skip_to(offset);
        timing.advance(messages, clock, arrived_at_ns);
        messages.record_position();
        messages.hear(arrived_at_ns);
        messages.collector.set_arrival(arrived_at_ns);
        messages.collector.set_sender(origin.sender);
        let n_before = messages.collector.len();
        messages.decode(&mut self.decoding, offset, next, message)?;
        self.clock = self.clock.max(messages.collector.clock());
        Ok(messages.collector.len() - n_before)
    }

    /// Counts messages that were lost before this one. Their senders are not known.
    fn count_lost(&mut self, entry: &Entry<'_>) {
        let rest = &mut self.partitions.rest;
        if entry.n_lost > 0 && entry.offset >= rest.offset() {
            rest.skip_to(entry.offset);
            self.timing.advance(rest, self.clock, entry.arrived_at_ns);
            rest.record_position();
            rest.collector.set_sender(None);
            rest.collector.drop_records(LOST, entry.n_lost, entry.offset);
        }
    }

    /// Advances all partitions to an offset before which every message was read. Later messages arrive at
    /// `clock_ns` or later.
    pub(crate) fn taken_to(&mut self, offset: u64, clock_ns: Option<i64>) {
        let arrived_at_ns = clock_ns.unwrap_or(i64::MIN).max(self.arrived_at_ns);
        self.clock = self.clock.max(self.partitions.rest.collector.clock());
        let (timing, clock) = (self.timing, self.clock);
        self.partitions.for_each(|messages| {
            messages.skip_to(offset);
            timing.advance(messages, clock, arrived_at_ns);
        });
        self.clock = self.partitions.furthest_clock();
        self.partitions.record_position(timing.earliest_ns(arrived_at_ns));
    }

    /// Returns the records of all partitions up to the slowest clock.
    pub(crate) fn poll(&mut self) -> Poll {
        let clock = self.partitions.slowest_clock();
        let mut poll = self.partitions.poll(|messages| messages.collector.take());
        self.in_order(&mut poll);
        let waiting = poll.records.partition_point(|(tick, _)| *tick <= clock);
        self.waiting = poll.records.split_off(waiting);
        Poll { clock, ..poll }
    }

    /// Returns all records, when no more messages follow.
    pub(crate) fn finish(&mut self) -> Poll {
        let mut poll = self.partitions.poll(PartitionDecoder::finish);
        self.in_order(&mut poll);
        Poll { clock: self.partitions.furthest_clock(), state: PollState::End, ..poll }
    }

    /// Merges pending and new records in the order of their ticks.
    fn in_order(&mut self, poll: &mut Poll) {
        let came = std::mem::replace(&mut poll.records, std::mem::take(&mut self.waiting));
        poll.records.extend(came);
        poll.records.sort_by_key(|(tick, _)| *tick);
    }

    /// Returns the first offset that is still needed, if checkpoints contain everything before `tick`.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        self.partitions.needed(tick)
    }
}
