//! Where a source collects what came in: gives each record its tick, and batches frames.
//!
//! A record that comes late keeps its capture time and travels at the partition's tick. The records of a
//! tick leave when the tick is over, all at once: so batches are cut alike however a source was polled.

mod ticks;

use std::net::IpAddr;

use schemas::{EventType, Record, SourceKind, Tick};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::partitions::devices::{DeviceFrame, Devices};
use crate::partitions::errors::Errors;
use crate::partitions::frames::{LinkNames, is_of, is_open, open_batch, sort_frames};
use crate::partitions::intake::ticks::TickAssigner;
use crate::partitions::position::{self, Position};
use crate::partitions::routers::Routers;
use crate::partitions::rows::{OpenRows, Row, Table};
use crate::partitions::sender::Sender;
use crate::{Clock, Dropped, Mark, Poll, PollState, SourceContext, SourceError};

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
pub struct Intake {
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
    /// Records since the last [`Intake::take`], each frame and each row as one.
    n_records: usize,
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
        let SourceContext { name, tick_length, granule, begins_at, .. } = *context;
        let ticks = TickAssigner::new(tick_length, granule, begins_at);
        Self::empty(names, source_kind, ticks, Errors::new(name, ""))
    }

    /// An empty intake for another partition, whose clock stands where this one's does.
    pub(crate) fn beside(&self, partition: &str) -> Self {
        let (ticks, errors) = (self.ticks.for_partition(), self.errors.beside(partition));
        Self {
            max_delay_ns: self.max_delay_ns,
            max_ahead_ns: self.max_ahead_ns,
            written_at_ns: self.written_at_ns,
            sender: self.sender.beside(),
            routers: self.routers.as_ref().map(Routers::beside),
            arrival: self.arrival,
            devices: self.devices.beside(),
            rows: self.rows.as_ref().map(|rows| rows.beside(partition)),
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
        let Position { tick, place, waiting, open, devices, routers: known } =
            Position::decode(position).map_err(|source| SourceError::Position {
                name: context.name.to_owned(),
                source,
            })?;
        self.ticks.restore(tick, open);
        self.records = waiting;
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

    /// Sets when what follows was written at the latest.
    pub(crate) fn set_written_at(&mut self, written_at_ns: i64) {
        self.written_at_ns = Some(written_at_ns);
    }

    /// True if a message cannot have come in at a time, which something outside has told.
    pub(crate) fn refuses_arrival(&self, arrived_at_ns: i64) -> bool {
        let latest = self.written_at_ns.map(|it| it.saturating_add(self.max_ahead_ns));
        latest.is_some_and(|latest_ns| arrived_at_ns > latest_ns)
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
        self.ticks.tick_of(captured_at_ns)
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
            let position = Some(self.position_at(tick, place, waiting));
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
        self.position_at(self.clock(), place, self.records.clone())
    }

    fn position_at(
        &self,
        tick: Tick,
        place: &impl Serialize,
        waiting: Vec<(Tick, Record)>,
    ) -> Vec<u8> {
        position::encode(&Position {
            tick,
            place: Some(place),
            waiting,
            open: self.ticks.open_since(tick),
            devices: self.devices.before_latest(),
            routers: self.routers.as_ref().map(Routers::before_latest).unwrap_or_default(),
        })
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
        self.ticks.clock()
    }

    /// True if a record captured then takes the clock out of a granule.
    pub fn leaves_granule(&self, captured_at_ns: i64) -> bool {
        self.clock_at(captured_at_ns) >= self.ticks.granule_end(self.clock())
    }

    /// Records and bad ones since the last [`Intake::take`].
    pub fn len(&self) -> usize {
        self.n_records + self.dropped.len()
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
        if scalars.captured_at_ns > self.latest_ns() {
            self.n_ahead += 1;
            return;
        }
        let heard = self.arrived_at_ns.zip(self.routers.as_mut());
        if heard.is_some_and(|(now_ns, routers)| routers.hear(link.0, now_ns)) {
            let router = link.0.to_owned();
            self.tell(EventType::RouterConnected, &router, scalars.captured_at_ns);
        }
        let tick = self.stamp(scalars.captured_at_ns, size_of_val(frame.values));
        let latest = self.latest.filter(|_| same);
        let open = latest.filter(|idx| is_open(self.records.get(*idx), tick, frame.layout));
        let batch_idx = open.unwrap_or_else(|| self.open_batch(tick, frame));
        self.latest = Some(batch_idx);
        let Record::Csi(batch) = &mut self.records[batch_idx].1 else { return };
        batch.iq.extend_from_slice(frame.values);
        let pushed = batch.push_scalars(scalars);
        debug_assert!(pushed.is_ok(), "a decoder's values must fill its layout");
        self.n_records += usize::from(pushed.is_ok());
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
        self.insert(at_ns, Record::Event(event));
    }

    /// Adds a record that is no frame.
    pub fn push_record(&mut self, captured_at_ns: i64, record: Record) {
        if captured_at_ns > self.latest_ns() {
            self.n_ahead += 1;
            return;
        }
        self.n_records += 1;
        self.insert(captured_at_ns, record);
    }

    fn insert(&mut self, captured_at_ns: i64, record: Record) {
        let tick = self.stamp(captured_at_ns, record.size_bytes());
        let behind = self.records.partition_point(|(at, _)| *at <= tick);
        self.records.insert(behind, (tick, record));
        self.latest = None;
    }

    /// Adds a row of the table.
    pub(crate) fn push_row(&mut self, happened_at_ns: i64, row: Row<'_>) {
        if happened_at_ns > self.latest_ns() {
            self.n_ahead += 1;
            return;
        }
        let tick = self.stamp(happened_at_ns, row.size_bytes());
        if let Some(rows) = &mut self.rows {
            rows.push(tick, happened_at_ns, row, &self.records);
            self.n_records += 1;
        }
    }

    /// Counts a record that could not be used.
    pub fn drop_record(&mut self, reason: &'static str, offset: u64) {
        self.drop_records(reason, 1, offset);
    }

    /// Counts records that are gone.
    pub(crate) fn drop_records(&mut self, reason: &'static str, n_records: u64, offset: u64) {
        self.dropped.push(Dropped { reason, n_records, offset });
        // They take memory like records, and may be all that comes.
        self.advance(self.ticks.clock_with_room(ERROR_BYTES));
        self.ticks.count(self.clock(), ERROR_BYTES);
        let device = self.sender.name().unwrap_or_default();
        self.errors.push(self.clock(), device, (reason, n_records, offset), &self.records);
    }

    /// Counts the message at an offset, which came in at a time that it cannot have come in at.
    pub(crate) fn drop_ahead_message(&mut self, offset: u64) {
        self.drop_records(TOO_FAR_AHEAD, 1, offset);
    }

    /// Counts the records of the message at an offset whose time is too far ahead.
    pub(crate) fn drop_ahead(&mut self, offset: u64) {
        let n_ahead = std::mem::take(&mut self.n_ahead);
        if n_ahead > 0 {
            self.drop_records(TOO_FAR_AHEAD, n_ahead, offset);
        }
    }

    /// Takes out the records whose tick is over.
    pub fn take(&mut self) -> Poll {
        let clock = self.clock();
        self.take_while(|tick| tick < clock)
    }

    /// Takes out everything that came in, for readers to whom ticks do not matter.
    pub fn drain(&mut self) -> Poll {
        self.ticks.close();
        self.take_while(|_| true)
    }

    /// Takes out the records of the first ticks for which something is so.
    fn take_while(&mut self, is_over: impl Fn(Tick) -> bool) -> Poll {
        self.latest = None;
        let n_records = std::mem::take(&mut self.n_records);
        self.n_expected = n_records;
        self.frames_per_batch = self.n_expected.div_ceil(self.records.len().max(1));
        self.close_rows(&is_over);
        let waiting = self.records.partition_point(|(tick, _)| is_over(*tick));
        let waiting = self.records.split_off(waiting);
        let mut records = std::mem::replace(&mut self.records, waiting);
        if self.max_delay_ns > 0 {
            for (_, record) in &mut records {
                sort_frames(record);
            }
        }
        Poll {
            records,
            n_records: n_records as u64,
            marks: std::mem::take(&mut self.marks),
            dropped: std::mem::take(&mut self.dropped),
            n_late: std::mem::take(&mut self.n_late),
            clock: self.clock(),
            state: PollState::Ready,
        }
    }

    /// Makes batches of the rows of ticks that are over.
    fn close_rows(&mut self, is_over: impl Fn(Tick) -> bool) {
        for rows in self.rows.iter_mut().chain([&mut self.errors.rows]) {
            while let Some((tick, record)) = rows.take_if(&is_over) {
                let behind = self.records.partition_point(|(at, _)| *at <= tick);
                self.records.insert(behind, (tick, record));
            }
        }
    }

    /// Takes out everything, at the end, which is at `place`; panics as [`Intake::mark`] does.
    pub fn finish(&mut self, place: &impl Serialize) -> Poll {
        self.settle();
        self.mark(place);
        let last_tick = self.records.last().map_or(self.clock(), |(tick, _)| *tick);
        let last_row = self.rows.as_ref().and_then(OpenRows::last_tick);
        let last_tick = last_tick.max(last_row.unwrap_or(0));
        self.left = Some((self.ticks.granule_end(last_tick), Vec::new()));
        self.mark(place);
        self.ticks.advance(last_tick);
        Poll { state: PollState::End, ..self.drain() }
    }

    /// The latest capture time that can be right: the clock must not follow one beyond it.
    fn latest_ns(&self) -> i64 {
        let known = self.arrived_at_ns.or(self.written_at_ns);
        known.map_or(i64::MAX, |it| it.saturating_add(self.max_ahead_ns))
    }

    /// The tick of a record of so many bytes, which moves the clock.
    fn stamp(&mut self, captured_at_ns: i64, n_bytes: usize) -> Tick {
        let tick = self.tick_of(captured_at_ns);
        self.n_late += u64::from(tick < self.clock());
        self.advance(self.clock_at(captured_at_ns));
        self.advance(self.ticks.clock_with_room(n_bytes));
        let tick = tick.max(self.clock());
        self.ticks.count(tick, n_bytes);
        tick
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
        self.tick_of(now_ns.saturating_sub(self.max_delay_ns))
    }

    fn advance(&mut self, clock: Tick) {
        let end = self.ticks.granule_end(self.clock());
        if clock >= end && self.left.is_none() {
            let waiting = self.records.iter().filter(|(tick, _)| *tick >= end).cloned();
            let mut waiting: Vec<_> = waiting.collect();
            waiting.extend(self.rows.iter().flat_map(|rows| rows.since(end)));
            waiting.sort_by_key(|(tick, _)| *tick);
            self.left = Some((end, waiting));
        }
        self.ticks.advance(clock);
    }
}

#[cfg(test)]
mod tests;
