//! Collects the records of a partition: assigns their ticks, and batches frames.
//!
//! A record that comes late keeps its capture time and travels at the partition's tick. The records of a
//! tick leave when the tick is over, full batches before: so batches are cut alike however a source was polled.

mod collect;
mod decode;
mod positions;
mod ticks;

use std::net::IpAddr;

use schemas::{Record, SourceKind, Tick};

use crate::partitions::collector::ticks::TickAssigner;
use crate::partitions::device_presence::DevicePresence;
use crate::partitions::devices::Devices;
use crate::partitions::errors::Errors;
use crate::partitions::frames::LinkNames;
use crate::partitions::peer_address::PeerAddress;
use crate::partitions::rows::{OpenRows, Table};
use crate::{Clock, Dropped, PartitionPosition, SourceContext};

/// Why a record is not used whose time cannot be right.
const TOO_FAR_AHEAD: &str = "time too far ahead";

/// About how many bytes the row of an error takes.
const ERROR_BYTES: usize = 160;

/// Collects the records of one partition. Frames of a link and tick stay in order in one contiguous
/// batch; a frame costs no allocation unless its batch is new.
///
/// With a delay, the clock is that far behind the newest record, and what is newer than the clock
/// waits: so records that come out of order by less than the delay are not late. The same is so where each of
/// several devices has a clock that is kept steady by the time of arrival: the slowest one counts.
#[derive(Debug)]
pub struct Collector {
    names: LinkNames,
    source_kind: SourceKind,
    ticks: TickAssigner,
    max_delay_ns: i64,
    max_ahead_ns: i64,
    arrived_at_ns: Option<i64>,
    /// Nothing that comes can have been captured after this, if that is known.
    written_at_ns: Option<i64>,
    /// Records that are further ahead of both than `max_ahead_ns`, since they were last counted.
    n_ahead: u64,
    sender: PeerAddress,
    /// Which devices are there, if that is to be told.
    presence: Option<DevicePresence>,
    /// True if frames are stamped with the time that they came in, if it is known.
    arrival: bool,
    devices: Devices,
    /// The batch that the latest frame went to: often the next one is of the same link.
    latest: Option<usize>,
    /// In the order of their ticks.
    records: Vec<(Tick, Record)>,
    positions: Vec<PartitionPosition>,
    /// The granule that the clock has just left.
    left: Option<LeftGranule>,
    dropped: Vec<Dropped>,
    n_late: u64,
    /// Records since the last [`Collector::take`], each frame and each row as one.
    n_records: usize,
    /// Frames of a batch, as the last [`Collector::take`] had them.
    frames_per_batch: usize,
    /// Frames that there is no room for yet, if there will be as many as it had.
    n_expected: usize,
    /// Rows, if rows come.
    rows: Option<OpenRows>,
    /// Undecodable records, as rows.
    errors: Errors,
}

/// What there was when the clock left a granule, before the record that made it so.
#[derive(Debug)]
struct LeftGranule {
    end: Tick,
    /// Records beyond the end.
    waiting: Vec<(Tick, Record)>,
    /// Bytes of each tick beyond it.
    open: Vec<(Tick, usize)>,
}

impl LeftGranule {
    fn empty(end: Tick) -> Self {
        Self { end, waiting: Vec::new(), open: Vec::new() }
    }
}

impl Collector {
    /// An empty collector, whose clock is at the first tick of the run.
    pub fn new(names: LinkNames, source_kind: SourceKind, context: &SourceContext<'_>) -> Self {
        let SourceContext { name, tick_length, granule, begins_at, .. } = *context;
        let ticks = TickAssigner::new(tick_length, granule, begins_at);
        Self::empty(names, source_kind, ticks, Errors::new(name, ""))
    }

    /// An empty collector for another partition, with the same clock.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        let (ticks, errors) = (self.ticks.for_partition(), self.errors.for_partition(partition));
        Self {
            max_delay_ns: self.max_delay_ns,
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

    /// Names the part of the source that this is.
    #[must_use]
    pub(crate) fn of_partition(self, context: &SourceContext<'_>, partition: &str) -> Self {
        Self { errors: Errors::new(context.name, partition), ..self }
    }

    /// Collects rows of this table.
    #[must_use]
    pub(crate) fn with_rows(self, table: Table) -> Self {
        Self { rows: Some(OpenRows::new(table)), ..self }
    }

    /// Lets records come out of order by this much.
    #[must_use]
    pub fn with_max_delay_ms(self, max_delay_ms: u32) -> Self {
        Self { max_delay_ns: i64::from(max_delay_ms) * 1_000_000, ..self }
    }

    /// Refuses records that were captured later than they came in by more than this.
    #[must_use]
    pub(crate) fn with_max_ahead_ms(self, max_ahead_ms: u32) -> Self {
        Self { max_ahead_ns: i64::from(max_ahead_ms) * 1_000_000, ..self }
    }

    /// Stamps frames by a clock; without it, by the device's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        match clock {
            Clock::Device => {}
            Clock::Aligned => self.devices.align(),
            Clock::Arrival => self.arrival = true,
        }
        self
    }

    /// Names receivers by who sends, where frames do not tell.
    #[must_use]
    pub(crate) fn with_senders(self, by_sender: bool) -> Self {
        Self { sender: PeerAddress::new(by_sender), ..self }
    }

    /// Reports which devices are connected; a device that is idle for `timeout_ms` is not.
    #[must_use]
    pub(crate) fn with_routers(self, context: &SourceContext<'_>, timeout_ms: u32) -> Self {
        let presence = DevicePresence::new(context.site, i64::from(timeout_ms) * 1_000_000);
        Self { presence: Some(presence), ..self }
    }

    /// Sets the time of arrival of the frames that follow.
    pub fn set_arrival(&mut self, arrived_at_ns: i64) {
        self.arrived_at_ns = Some(arrived_at_ns);
    }

    /// Sets when what follows was written at the latest.
    pub(crate) fn set_written_at(&mut self, written_at_ns: i64) {
        self.written_at_ns = Some(written_at_ns);
    }

    /// True if a message cannot have come in at a time, which something outside has told.
    pub(crate) fn refuses_arrival(&self, arrived_at_ns: i64) -> bool {
        let latest = self.written_at_ns.map(|it| it.saturating_add(self.max_ahead_ns));
        latest.is_some_and(|latest_ns| arrived_at_ns > latest_ns)
    }

    /// Sets the sender of the frames that follow, if it is known.
    pub(crate) fn set_sender(&mut self, sender: Option<IpAddr>) {
        self.sender.set(sender);
    }

    /// Moves the clock: nothing captured before this can come any more, unless late.
    pub fn advance_to(&mut self, now_ns: i64) {
        self.advance_to_tick(self.tick_of(now_ns));
    }

    /// Moves the clock to a tick, as it was moved before.
    pub(crate) fn advance_to_tick(&mut self, clock: Tick) {
        self.commit();
        self.advance(clock);
    }

    /// The tick that a capture time falls into.
    pub(crate) fn tick_of(&self, captured_at_ns: i64) -> Tick {
        self.ticks.tick_of(captured_at_ns)
    }

    /// The tick behind the one that the clock is in.
    pub(crate) fn next_tick(&self) -> Tick {
        self.ticks.next_tick()
    }

    /// Forgets what was remembered of devices.
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

    /// True if records or errors wait for their tick to be over.
    pub(crate) fn has_open(&self) -> bool {
        self.ticks.has_open()
    }

    /// True if a record captured then takes the clock out of a granule.
    pub fn leaves_granule(&self, captured_at_ns: i64) -> bool {
        self.clock_at(captured_at_ns) >= self.ticks.granule_end(self.clock())
    }

    /// Records and bad ones since the last [`Collector::take`].
    pub fn len(&self) -> usize {
        self.n_records + self.dropped.len()
    }

    /// True when nothing came since the last [`Collector::take`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
