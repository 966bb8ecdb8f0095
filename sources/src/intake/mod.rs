//! Where a source collects what came in: gives each record its tick, and batches frames.
//!
//! A partition has a monotone clock. A record's tick is the largest tick seen so far, its own
//! included; one that comes late keeps its capture time and travels at the current tick. So ticks are
//! a pure function of what came before, however it was polled.

use std::net::IpAddr;

use schemas::{EventType, Granule, Record, SourceKind, Tick, TickLength};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::devices::{DeviceFrame, Devices};
use crate::errors::Errors;
use crate::frames::{LinkNames, is_of, is_open, open_batch, sort_frames};
use crate::position::{self, Position};
use crate::routers::Routers;
use crate::rows::{OpenRows, Row, Table};
use crate::sender::Sender;
use crate::{Clock, Dropped, Mark, Poll, PollState, SourceContext, SourceError};

/// Collects the records of one partition. Frames of a link and tick stay in order in one contiguous
/// batch; a frame costs no allocation unless its batch is new.
///
/// With a delay, the clock is that far behind the newest record, and what is newer than the clock
/// waits: so records that come out of order by less than the delay are not late. The same is so where each of
/// several devices has a clock that is kept steady by the time of arrival: the slowest one counts.
#[derive(Debug)]
pub struct Intake {
    names: LinkNames,
    source_kind: SourceKind,
    tick_length: TickLength,
    granule: Granule,
    max_delay_ns: i64,
    clock: Tick,
    arrived_at_ns: Option<i64>,
    sender: Sender,
    /// Which devices are there, if that is to be told.
    routers: Option<Routers>,
    /// True if frames are stamped with the time that they came in, if it is known.
    arrival: bool,
    devices: Devices,
    /// The batch that the latest frame went to: often the next one is of the same link.
    latest: Option<usize>,
    /// In the order of their ticks.
    records: Vec<(Tick, Record)>,
    marks: Vec<Mark>,
    /// The end of the granule that the clock has just left, with the records that wait beyond it.
    left: Option<(Tick, Vec<(Tick, Record)>)>,
    dropped: Vec<Dropped>,
    n_late: u64,
    n_frames: usize,
    /// Frames of a batch, as the last [`Intake::take`] had them.
    frames_per_batch: usize,
    /// Frames that there is no room for yet, if there will be as many as it had.
    n_expected: usize,
    /// Rows, if rows come.
    rows: Option<OpenRows>,
    /// What could not be used, as rows.
    errors: Errors,
}

impl Intake {
    /// An empty intake whose clock stands where time starts.
    pub fn new(names: LinkNames, source_kind: SourceKind, context: &SourceContext<'_>) -> Self {
        let SourceContext { name, tick_length, granule, starts_at, .. } = *context;
        let errors = Errors::new(name, "");
        Self::empty(names, source_kind, (tick_length, granule), starts_at, errors)
    }

    /// An empty intake for another partition, whose clock stands where this one's does.
    pub(crate) fn beside(&self, partition: &str) -> Self {
        let (lengths, errors) = ((self.tick_length, self.granule), self.errors.beside(partition));
        Self {
            max_delay_ns: self.max_delay_ns,
            sender: self.sender.beside(),
            routers: self.routers.as_ref().map(Routers::beside),
            arrival: self.arrival,
            devices: self.devices.beside(),
            rows: self.rows.as_ref().map(|rows| rows.beside(partition)),
            ..Self::empty(self.names.clone(), self.source_kind, lengths, self.clock, errors)
        }
    }

    fn empty(
        names: LinkNames,
        source_kind: SourceKind,
        (tick_length, granule): (TickLength, Granule),
        clock: Tick,
        errors: Errors,
    ) -> Self {
        Self {
            names,
            source_kind,
            tick_length,
            granule,
            max_delay_ns: 0,
            clock,
            arrived_at_ns: None,
            sender: Sender::default(),
            routers: None,
            arrival: false,
            devices: Devices::default(),
            latest: None,
            records: Vec::new(),
            marks: Vec::new(),
            left: None,
            dropped: Vec::new(),
            n_late: 0,
            n_frames: 0,
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
        Self { sender: Sender::new(by_sender), ..self }
    }

    /// Tells which devices are there, as long as none is silent for `timeout_ms`.
    #[must_use]
    pub(crate) fn with_routers(self, context: &SourceContext<'_>, timeout_ms: u32) -> Self {
        let routers = Routers::new(context.site, i64::from(timeout_ms) * 1_000_000);
        Self { routers: Some(routers), ..self }
    }

    /// The place to read on from in a partition, after a restart; what waited there waits again.
    ///
    /// # Errors
    ///
    /// [`SourceError::Position`] if the notes are not this source's.
    pub fn restore<P: DeserializeOwned>(
        &mut self,
        context: &SourceContext<'_>,
        partition: &str,
    ) -> Result<Option<P>, SourceError> {
        let Some(position) = context.position(partition) else { return Ok(None) };
        let Position { tick, place, waiting, devices, routers: known } = Position::decode(position)
            .map_err(|source| SourceError::Position { name: context.name.to_owned(), source })?;
        (self.clock, self.records) = (tick, waiting);
        self.devices.restore(devices);
        if let Some(routers) = &mut self.routers {
            routers.restore(known);
        }
        Ok(place)
    }

    /// Tells when the frames that follow came in.
    pub fn set_arrival(&mut self, arrived_at_ns: i64) {
        self.arrived_at_ns = Some(arrived_at_ns);
    }

    /// Tells who sent the frames that follow, if that is known.
    pub(crate) fn set_sender(&mut self, sender: Option<IpAddr>) {
        self.sender.set(sender);
    }

    /// Moves the clock: nothing captured before this can come any more, unless late.
    pub fn advance_to(&mut self, now_ns: i64) {
        self.advance_to_tick(self.tick_of(now_ns));
    }

    /// Moves the clock to a tick, as it was moved before.
    pub(crate) fn advance_to_tick(&mut self, clock: Tick) {
        self.settle();
        self.advance(clock);
    }

    /// The tick that a capture time falls into.
    pub(crate) fn tick_of(&self, captured_at_ns: i64) -> Tick {
        self.tick_length.tick_of(captured_at_ns)
    }

    /// Notes the place that the latest record was read from, if it took the clock out of a granule.
    /// To be called after each record. Gives the end of that granule.
    ///
    /// # Panics
    ///
    /// If the place holds something that postcard cannot write, such as a sequence of unknown length.
    pub fn mark(&mut self, place: &impl Serialize) -> Option<Tick> {
        let left = self.left.take();
        let marked = left.map(|(tick, waiting)| {
            let position = Some(self.position_at(tick, place, &waiting));
            self.marks.push(Mark { partition: self.partition().to_owned(), tick, position });
            tick
        });
        self.settle();
        marked
    }

    /// Notes that the partition is no more, if the clock has left a granule and nothing waits. Gives the end
    /// of that granule.
    pub(crate) fn leave(&mut self) -> Option<Tick> {
        let (tick, _) = self.left.take_if(|(_, waiting)| waiting.is_empty())?;
        self.marks.push(Mark { partition: self.partition().to_owned(), tick, position: None });
        Some(tick)
    }

    /// Where the partition is, when nothing was read yet since it was restored.
    pub(crate) fn position(&self, place: &impl Serialize) -> Vec<u8> {
        self.position_at(self.clock, place, &self.records)
    }

    fn position_at(
        &self,
        tick: Tick,
        place: &impl Serialize,
        waiting: &[(Tick, Record)],
    ) -> Vec<u8> {
        let devices = self.devices.before_latest();
        let routers = self.routers.as_ref().map(Routers::before_latest).unwrap_or_default();
        position::encode(tick, place, waiting, (&devices, &routers))
    }

    /// Forgets what was remembered of devices.
    pub(crate) fn forget_devices(&mut self) {
        self.devices = self.devices.beside();
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
        self.clock
    }

    /// True if a record captured then takes the clock out of a granule.
    pub fn leaves_granule(&self, captured_at_ns: i64) -> bool {
        self.clock_at(captured_at_ns) >= self.granule.end_of(self.clock)
    }

    /// Frames and bad records since the last [`Intake::take`].
    pub fn len(&self) -> usize {
        self.n_frames + self.dropped.len()
    }

    /// True when nothing came since the last [`Intake::take`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: &DeviceFrame<'_>) {
        let link = self.names.of(frame.receiver.or(self.sender.receiver()), frame.transmitter);
        let same = self.latest.is_some_and(|latest| is_of(self.records.get(latest), link));
        let mut scalars = self.devices.read(link, same, frame, self.arrived_at_ns);
        if let Some(arrived_at_ns) = self.arrived_at_ns.filter(|_| self.arrival) {
            scalars.captured_at_ns = arrived_at_ns;
        }
        let heard = self.arrived_at_ns.zip(self.routers.as_mut());
        if heard.is_some_and(|(now_ns, routers)| routers.hear(link.0, now_ns)) {
            let router = link.0.to_owned();
            self.tell(EventType::RouterConnected, &router, scalars.captured_at_ns);
        }
        let tick = self.stamp(scalars.captured_at_ns);
        let latest = self.latest.filter(|_| same);
        let open = latest.filter(|idx| is_open(self.records.get(*idx), tick, frame.layout));
        let batch_idx = open.unwrap_or_else(|| self.open_batch(tick, frame));
        self.latest = Some(batch_idx);
        let Record::Csi(batch) = &mut self.records[batch_idx].1 else { return };
        batch.iq.extend_from_slice(frame.values);
        let pushed = batch.push_scalars(scalars);
        debug_assert!(pushed.is_ok(), "a decoder's values must fill its layout");
        self.n_frames += usize::from(pushed.is_ok());
    }

    /// Where the batch is that a frame of a tick goes to.
    fn open_batch(&mut self, tick: Tick, frame: &DeviceFrame<'_>) -> usize {
        let Self { names, records, source_kind, sender, .. } = self;
        let link = names.of(frame.receiver.or(sender.receiver()), frame.transmitter);
        let batch_idx = open_batch(records, tick, &names.site, link, frame.layout, *source_kind);
        if let Some((_, Record::Csi(batch))) = records.get_mut(batch_idx)
            && batch.is_empty()
        {
            let n_frames = self.frames_per_batch.min(self.n_expected);
            self.n_expected -= n_frames;
            batch.reserve(n_frames);
        }
        batch_idx
    }

    /// Tells of one device that has fallen silent by a time, if one has. To be marked then.
    pub(crate) fn tell_silence(&mut self, now_ns: i64) -> bool {
        self.settle();
        let silent = self.routers.as_mut().and_then(|routers| routers.fall_silent(now_ns));
        let Some((router, silent_at_ns)) = silent else { return false };
        self.tell(EventType::RouterDisconnected, &router, silent_at_ns);
        true
    }

    /// Adds an event of a device.
    fn tell(&mut self, event_type: EventType, router: &str, at_ns: i64) {
        let Some(routers) = &self.routers else { return };
        let (about, at) = ((self.names.site.as_str(), router), (self.tick_of(at_ns), at_ns));
        let event = routers.event(event_type, about, at, self.source_kind);
        self.push_record(at_ns, Record::Event(event));
    }

    /// Adds a record that is no frame.
    pub fn push_record(&mut self, captured_at_ns: i64, record: Record) {
        let tick = self.stamp(captured_at_ns);
        let behind = self.records.partition_point(|(at, _)| *at <= tick);
        self.records.insert(behind, (tick, record));
        self.latest = None;
    }

    /// Adds a row of the table.
    pub(crate) fn push_row(&mut self, happened_at_ns: i64, row: Row<'_>) {
        let tick = self.stamp(happened_at_ns);
        if let Some(rows) = &mut self.rows {
            rows.push(tick, happened_at_ns, row, &self.records);
            self.n_frames += 1;
        }
    }

    /// Counts a record that could not be used.
    pub fn drop_record(&mut self, reason: &'static str, offset: u64) {
        self.drop_records(reason, 1, offset);
    }

    /// Counts records that are gone.
    pub(crate) fn drop_records(&mut self, reason: &'static str, n_records: u64, offset: u64) {
        self.dropped.push(Dropped { reason, n_records, offset });
        let device = self.sender.name().unwrap_or_default();
        self.errors.push(self.clock, device, (reason, n_records, offset), &self.records);
    }

    /// Takes out what came in, but for what waits.
    pub fn take(&mut self) -> Poll {
        self.latest = None;
        self.n_expected = std::mem::take(&mut self.n_frames);
        self.frames_per_batch = self.n_expected.div_ceil(self.records.len().max(1));
        self.close_rows();
        let waiting = self.records.partition_point(|(tick, _)| *tick <= self.clock);
        let waiting = self.records.split_off(waiting);
        let mut records = std::mem::replace(&mut self.records, waiting);
        if self.max_delay_ns > 0 {
            for (_, record) in &mut records {
                sort_frames(record);
            }
        }
        Poll {
            records,
            marks: std::mem::take(&mut self.marks),
            dropped: std::mem::take(&mut self.dropped),
            n_late: std::mem::take(&mut self.n_late),
            clock: self.clock,
            state: PollState::Ready,
        }
    }

    /// Makes batches of the rows whose time has come.
    fn close_rows(&mut self) {
        for rows in self.rows.iter_mut().chain([&mut self.errors.rows]) {
            while let Some((tick, record)) = rows.take(self.clock) {
                let behind = self.records.partition_point(|(at, _)| *at <= tick);
                self.records.insert(behind, (tick, record));
            }
        }
    }

    /// Takes out everything, at the end, which is at `place`; panics as [`Intake::mark`] does.
    pub fn finish(&mut self, place: &impl Serialize) -> Poll {
        self.settle();
        self.mark(place);
        let last_tick = self.records.last().map_or(self.clock, |(tick, _)| *tick);
        let last_row = self.rows.as_ref().and_then(OpenRows::last_tick);
        let last_tick = last_tick.max(last_row.unwrap_or(0));
        self.left = Some((self.granule.end_of(last_tick), Vec::new()));
        self.mark(place);
        self.clock = self.clock.max(last_tick);
        Poll { state: PollState::End, ..self.take() }
    }

    /// The tick of a record, which moves the clock.
    fn stamp(&mut self, captured_at_ns: i64) -> Tick {
        let tick = self.tick_length.tick_of(captured_at_ns);
        self.n_late += u64::from(tick < self.clock);
        self.advance(self.clock_at(captured_at_ns));
        tick.max(self.clock)
    }

    /// The latest frames are before the place that a mark would note.
    pub(crate) fn settle(&mut self) {
        self.devices.settle();
        if let Some(routers) = &mut self.routers {
            routers.settle();
        }
    }

    /// Where a record captured then takes the clock to: no further than the slowest of several devices.
    fn clock_at(&self, captured_at_ns: i64) -> Tick {
        let now_ns = self.devices.slowest_ns(self.arrived_at_ns).unwrap_or(captured_at_ns);
        self.tick_length.tick_of(now_ns.saturating_sub(self.max_delay_ns))
    }

    fn advance(&mut self, clock: Tick) {
        let end = self.granule.end_of(self.clock);
        if clock >= end && self.left.is_none() {
            let waiting = self.records.iter().filter(|(tick, _)| *tick >= end).cloned();
            let mut waiting: Vec<_> = waiting.collect();
            waiting.extend(self.rows.iter().flat_map(|rows| rows.since(end)));
            waiting.sort_by_key(|(tick, _)| *tick);
            self.left = Some((end, waiting));
        }
        self.clock = self.clock.max(clock);
    }
}

#[cfg(test)]
mod tests;
