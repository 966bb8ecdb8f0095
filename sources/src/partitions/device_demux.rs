//! Demultiplexes the messages of several devices: each goes to the partition of its sender, and the records of all
//! partitions leave in the order of their ticks.

use schemas::{Record, SourceKind, Tick};

use crate::Clock;
use crate::journal::Entry;
use crate::partitions::aligned::JITTER_NS;
use crate::partitions::device_partitions::DevicePartitions;
use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::{Decoding, PartitionDecoder};
use crate::{Poll, PollState, SourceError};

/// From the journal, or before: the system had no room for them.
const LOST: &str = "lost before it was read";

/// Takes messages in.
pub(crate) struct DeviceDemux {
    partitions: DevicePartitions,
    decoding: Decoding,
    timing: Timing,
    /// The clock of the partition that is the furthest.
    clock: Tick,
    /// When the latest message came in.
    arrived_at_ns: i64,
    /// Records that are further than the partition that is the furthest behind.
    waiting: Vec<(Tick, Record)>,
}

/// The kind of clock of partitions.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// True if they follow the time that messages come in, rather than the messages' own.
    arrival: bool,
    /// True if each device has its own; otherwise all are where the furthest is.
    aligned: bool,
}

impl Timing {
    fn of(clock: Option<Clock>) -> Self {
        Self { arrival: clock != Some(Clock::Device), aligned: clock == Some(Clock::Aligned) }
    }

    /// Before this, nothing is stamped that comes in at a time.
    fn earliest_ns(self, arrived_at_ns: i64) -> i64 {
        arrived_at_ns.saturating_sub(if self.aligned { JITTER_NS } else { 0 })
    }

    /// Moves a partition's clock before what comes in at a time is read: so what happens then is stamped
    /// alike, whether time went by or the next message was read at once. `furthest` is the clock of the
    /// partition that is the furthest.
    fn advance(self, messages: &mut PartitionDecoder, furthest: Tick, arrived_at_ns: i64) {
        let now_ns = self.earliest_ns(arrived_at_ns);
        messages.tell_silences(now_ns);
        if self.arrival {
            messages.collector.advance_to(now_ns);
        } else {
            // In one clock, nothing is before what came before it.
            messages.collector.advance_to_tick(furthest);
        }
    }
}

impl DeviceDemux {
    /// Goes on where an earlier run was; otherwise at `start`.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        start: u64,
    ) -> Result<Self, SourceError> {
        let timing = Timing::of(ingress.clock);
        // Who is there is told by the time that frames come in.
        let partitions = DevicePartitions::open(ingress, kind, start, timing.arrival)?;
        let (decoding, clock) = (Decoding::open(ingress), partitions.furthest_clock());
        let (arrived_at_ns, waiting) = (i64::MIN, Vec::new());
        Ok(Self { partitions, decoding, timing, clock, arrived_at_ns, waiting })
    }

    /// The position to continue at.
    pub(crate) fn offset(&self) -> u64 {
        self.partitions.offset()
    }

    /// The partition of unknown senders, if the messages' own time counts.
    pub(crate) fn timed(&mut self) -> Option<&mut PartitionDecoder> {
        (!self.timing.arrival).then_some(&mut self.partitions.rest)
    }

    /// Takes a message; gives how many frames and bad records that were.
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

    /// Counts what was lost before a message; who sent it is lost, too.
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

    /// Everything before an offset was read. Later messages arrive at `clock_ns` or later.
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

    /// Takes out what all partitions have come to.
    pub(crate) fn poll(&mut self) -> Poll {
        let clock = self.partitions.slowest_clock();
        let mut poll = self.partitions.poll(|messages| messages.collector.take());
        self.in_order(&mut poll);
        let waiting = poll.records.partition_point(|(tick, _)| *tick <= clock);
        self.waiting = poll.records.split_off(waiting);
        Poll { clock, ..poll }
    }

    /// Takes out everything, when no more messages come.
    pub(crate) fn finish(&mut self) -> Poll {
        let mut poll = self.partitions.poll(PartitionDecoder::finish);
        self.in_order(&mut poll);
        Poll { clock: self.partitions.furthest_clock(), state: PollState::End, ..poll }
    }

    /// Puts what waits and what came in the order of their ticks.
    fn in_order(&mut self, poll: &mut Poll) {
        let came = std::mem::replace(&mut poll.records, std::mem::take(&mut self.waiting));
        poll.records.extend(came);
        poll.records.sort_by_key(|(tick, _)| *tick);
    }

    /// The offset from which on messages are needed, if all before a tick is done with.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        self.partitions.needed(tick)
    }
}
