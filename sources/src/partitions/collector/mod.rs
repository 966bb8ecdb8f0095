//! Collects the records of a partition: assigns their ticks, and batches frames.
//!
//! A late record keeps its capture time, and its tick is the partition's clock. The records of a tick are
//! emitted when the tick is closed, full batches earlier. So batches do not depend on how a source was
//! polled.

mod collect;
mod decode;
mod positions;
mod ticks;

use std::net::IpAddr;

use schemas::{Record, SourceKind, Tick, TimeSpan};

use crate::partitions::collector::ticks::TickAssigner;
use crate::partitions::device_presence::DevicePresence;
use crate::partitions::devices::Devices;
use crate::partitions::errors::Errors;
use crate::partitions::frames::{FULL_BATCH_BYTES, LinkNames};
use crate::partitions::peer_address::PeerAddress;
use crate::partitions::rows::{OpenRows, Table};
use crate::{Clock, Dropped, PartitionPosition, SourceContext};

/// Drop reason of a record or message whose time cannot be right.
const TOO_FAR_AHEAD: &str = "time too far ahead";

/// Approximate size of an error row, in bytes.
const ERROR_BYTES: usize = 160;

/// Collects the records of one partition. Frames of a link and tick stay in order in one contiguous batch.
/// A frame costs no allocation unless its batch is new.
///
/// With a delay, the clock is that far behind the newest record, and newer records stay pending. So records
/// that are out of order by less than the delay are not late. The same applies if several devices have
/// clocks that are aligned with the arrival time: the slowest device determines the clock.
#[derive(Debug)]
pub struct Collector {
    names: LinkNames,
    source_kind: SourceKind,
    ticks: TickAssigner,
    max_delay_ns: i64,
    /// A batch with this many bytes is full. Without a limit if frames may be out of order: a batch is sorted as a
    /// whole.
    full_bytes: usize,
    max_ahead_ns: i64,
    arrived_at_ns: Option<i64>,
    /// The time by which all following records were written, if known.
    written_at_ns: Option<i64>,
    /// Records ahead of their arrival or write time by more than `max_ahead_ns`, since the last count.
    n_ahead: u64,
    sender: PeerAddress,
    /// The devices that are present, if their events are reported.
    presence: Option<DevicePresence>,
    /// True if the capture time of a frame is its arrival time, if that is known.
    arrival: bool,
    devices: Devices,
    /// The batch of the latest frame: the next frame often has the same link.
    latest: Option<usize>,
    /// Ordered by tick.
    records: Vec<(Tick, Record)>,
    positions: Vec<PartitionPosition>,
    /// The granule whose end the clock has just passed.
    left: Option<LeftGranule>,
    dropped: Vec<Dropped>,
    n_late: u64,
    /// Records since the last [`Collector::take`]; each frame and each row counts as one.
    n_records: usize,
    /// Average frames of a batch at the last [`Collector::take`].
    frames_per_batch: usize,
    /// Expected frames without reserved room: at first, the number of records of the last
    /// [`Collector::take`].
    n_expected: usize,
    /// Pending rows, if the source has a table.
    rows: Option<OpenRows>,
    /// Dropped records, as rows of the error stream.
    errors: Errors,
}

/// The state at the end of the last granule, before the record that ended it.
#[derive(Debug)]
struct LeftGranule {
    end: Tick,
    /// Records at ticks from `end` on.
    waiting: Vec<(Tick, Record)>,
    /// Bytes of each open tick from `end` on.
    open: Vec<(Tick, usize)>,
}

impl LeftGranule {
    fn empty(end: Tick) -> Self {
        Self { end, waiting: Vec::new(), open: Vec::new() }
    }
}

impl Collector {
    /// An empty collector, whose clock is at the context's `begins_at`.
    pub fn new(names: LinkNames, source_kind: SourceKind, context: &SourceContext<'_>) -> Self {
        let SourceContext { name, tick_length, granule, begins_at, .. } = *context;
        let ticks = TickAssigner::new(tick_length, granule, begins_at);
        Self::empty(names, source_kind, ticks, Errors::new(name, ""))
    }

    /// An empty collector for another partition, with the same settings and clock.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        let (ticks, errors) = (self.ticks.for_partition(), self.errors.for_partition(partition));
        Self {
            max_delay_ns: self.max_delay_ns,
            full_bytes: self.full_bytes,
            max_ahead_ns: self.max_ahead_ns,
            written_at_ns: self.written_at_ns,
            sender: self.sender.for_partition(),
            presence: self.presence.as_ref().map(DevicePresence::for_partition),
            arrival: self.arrival,
            devices: self.devices.for_partition(),
            rows: self.rows.as_ref().map(|rows| rows.for_partition(partition)),
            ..Self::empty(self.names.clone(), self.source_kind, ticks, errors)
        }
    }

    fn empty(
        names: LinkNames,
        source_kind: SourceKind,
        ticks: TickAssigner,
        errors: Errors,
    ) -> Self {
        Self {
            names,
            source_kind,
            ticks,
            max_delay_ns: 0,
            full_bytes: FULL_BATCH_BYTES,
            max_ahead_ns: i64::MAX,
            arrived_at_ns: None,
            written_at_ns: None,
            n_ahead: 0,
            sender: PeerAddress::default(),
            presence: None,
            arrival: false,
            devices: Devices::default(),
            latest: None,
            records: Vec::new(),
            positions: Vec::new(),
            left: None,
            dropped: Vec::new(),
            n_late: 0,
            n_records: 0,
            frames_per_batch: 0,
            n_expected: 0,
            rows: None,
            errors,
        }
    }

    /// Sets the partition's name, for errors and positions.
    #[must_use]
    pub(crate) fn of_partition(self, context: &SourceContext<'_>, partition: &str) -> Self {
        Self { errors: Errors::new(context.name, partition), ..self }
    }

    /// Collects rows of this table.
    #[must_use]
    pub(crate) fn with_rows(self, table: Table) -> Self {
        Self { rows: Some(OpenRows::new(table)), ..self }
    }

    /// Sets by how much records may be out of order without being late.
    #[must_use]
    pub fn with_max_delay(self, max_delay: TimeSpan) -> Self {
        let full_bytes = if max_delay > TimeSpan::ZERO { usize::MAX } else { FULL_BATCH_BYTES };
        Self { max_delay_ns: max_delay.as_ns(), full_bytes, ..self }
    }

    /// Drops records whose time is ahead of their arrival by more than this.
    #[must_use]
    pub(crate) fn with_max_ahead(self, max_ahead: TimeSpan) -> Self {
        Self { max_ahead_ns: max_ahead.as_ns(), ..self }
    }

    /// Sets the clock of capture times; the device's clock by default.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        match clock {
            Clock::Device => {}
            Clock::Aligned => self.devices.align(),
            Clock::Arrival => self.arrival = true,
        }
        self
    }

    /// With `by_sender`, names a receiver by the sender's address, unless frames contain the receiver.
    #[must_use]
    pub(crate) fn with_senders(self, by_sender: bool) -> Self {
        Self { sender: PeerAddress::new(by_sender), ..self }
    }

    /// Reports when devices connect and disconnect. A device that is idle for `timeout` is disconnected.
    #[must_use]
    pub(crate) fn with_routers(self, context: &SourceContext<'_>, timeout: TimeSpan) -> Self {
        let presence = DevicePresence::new(context.site, timeout.as_ns());
        Self { presence: Some(presence), ..self }
    }

    /// Sets the arrival time of the frames that follow, in nanoseconds since the Unix epoch.
    pub fn set_arrival(&mut self, arrived_at_ns: i64) {
        self.arrived_at_ns = Some(arrived_at_ns);
    }

    /// Sets the time by which all following records were written.
    pub(crate) fn set_written_at(&mut self, written_at_ns: i64) {
        self.written_at_ns = Some(written_at_ns);
    }

    /// True if an arrival time from outside, such as a producer's, is too far ahead to be right.
    pub(crate) fn refuses_arrival(&self, arrived_at_ns: i64) -> bool {
        let latest = self.written_at_ns.map(|it| it.saturating_add(self.max_ahead_ns));
        latest.is_some_and(|latest_ns| arrived_at_ns > latest_ns)
    }

    /// Sets the sender of the frames that follow, if known.
    pub(crate) fn set_sender(&mut self, sender: Option<IpAddr>) {
        self.sender.set(sender);
    }

    /// Advances the clock to a time. Later records that were captured before it are late.
    pub fn advance_to(&mut self, now_ns: i64) {
        self.advance_to_tick(self.tick_of(now_ns));
    }

    /// Commits the state of devices, and advances the clock to a tick.
    pub(crate) fn advance_to_tick(&mut self, clock: Tick) {
        self.commit();
        self.advance(clock);
    }

    /// Returns the tick of a capture time.
    pub(crate) fn tick_of(&self, captured_at_ns: i64) -> Tick {
        self.ticks.tick_of(captured_at_ns)
    }

    /// Returns the tick after the clock.
    pub(crate) fn next_tick(&self) -> Tick {
        self.ticks.next_tick()
    }

    /// Discards the state of all devices.
    pub(crate) fn forget_devices(&mut self) {
        self.devices = self.devices.for_partition();
    }

    /// The source's name.
    pub(crate) fn source(&self) -> &str {
        &self.errors.source
    }

    /// The partition's name.
    pub(crate) fn partition(&self) -> &str {
        &self.errors.partition
    }

    /// The partition's clock.
    pub(crate) fn clock(&self) -> Tick {
        self.ticks.clock()
    }

    /// True if an open tick has records or errors.
    pub(crate) fn has_open(&self) -> bool {
        self.ticks.has_open()
    }

    /// True if a record with this capture time moves the clock past the end of its granule.
    pub fn leaves_granule(&self, captured_at_ns: i64) -> bool {
        self.clock_at(captured_at_ns) >= self.ticks.granule_end(self.clock())
    }

    /// Number of records, dropped ones included, since the last [`Collector::take`].
    pub fn len(&self) -> usize {
        self.n_records + self.dropped.len()
    }

    /// True if no record arrived since the last [`Collector::take`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
