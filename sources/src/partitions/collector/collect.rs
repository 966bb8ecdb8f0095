//! Collects records in batches by tick, and emits a batch when its tick is closed.

use schemas::{EventType, Record, Tick};
use serde::Serialize;

use crate::partitions::collector::{Collector, ERROR_BYTES, LeftGranule, TOO_FAR_AHEAD};
use crate::partitions::frames::{is_of, is_open, open_batch, sort_frames, take_full};
use crate::partitions::rows::OpenRows;
use crate::{DeviceFrame, Dropped, Poll, PollState, Row};

impl Collector {
    /// Adds a frame, or counts it as too far ahead.
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
        let heard = self.arrived_at_ns.zip(self.presence.as_mut());
        if heard.is_some_and(|(now_ns, presence)| presence.hear(link.0, now_ns)) {
            let router = link.0.to_owned();
            self.tell(EventType::RouterConnected, &router, scalars.captured_at_ns);
        }
        let tick = self.stamp(scalars.captured_at_ns, size_of_val(frame.values));
        let latest = self.latest.filter(|_| same);
        let open = latest
            .filter(|idx| is_open(self.records.get(*idx), tick, frame.layout, self.full_bytes));
        let batch_idx = open.unwrap_or_else(|| self.open_batch(tick, frame));
        self.latest = Some(batch_idx);
        let Record::Csi(batch) = &mut self.records[batch_idx].1 else { return };
        batch.iq.extend_from_slice(frame.values);
        let pushed = batch.push_scalars(scalars);
        self.ticks.count_frame(tick);
        debug_assert!(pushed.is_ok(), "a decoder's values must fill its layout");
        self.n_records += usize::from(pushed.is_ok());
    }

    /// Returns the index of an open batch for a frame of a tick; creates the batch if there is none.
    fn open_batch(&mut self, tick: Tick, frame: &DeviceFrame<'_>) -> usize {
        let Self { names, records, source_kind, sender, ticks, full_bytes, .. } = self;
        let link = names.of(frame.receiver.or(sender.receiver()), frame.transmitter);
        let n_before = ticks.n_frames(tick);
        let site = names.site.as_str();
        let batch_idx = open_batch(
            records,
            (tick, n_before),
            site,
            link,
            frame.layout,
            *source_kind,
            *full_bytes,
        );
        if let Some((_, Record::Csi(batch))) = records.get_mut(batch_idx)
            && batch.is_empty()
        {
            let n_frames = self.frames_per_batch.min(self.n_expected);
            self.n_expected -= n_frames;
            batch.reserve(n_frames);
        }
        batch_idx
    }

    /// Adds a disconnect event for one device that is idle by a time. Returns true if there was one: the
    /// caller then records the position.
    pub(crate) fn tell_silence(&mut self, now_ns: i64) -> bool {
        self.commit();
        let silent = self.presence.as_mut().and_then(|presence| presence.fall_silent(now_ns));
        let Some((router, silent_at_ns)) = silent else { return false };
        self.tell(EventType::RouterDisconnected, &router, silent_at_ns);
        true
    }

    /// Adds a connect or disconnect event of a device.
    fn tell(&mut self, event_type: EventType, router: &str, at_ns: i64) {
        let Some(presence) = &self.presence else { return };
        let (about, at) = ((self.names.site.as_str(), router), (self.tick_of(at_ns), at_ns));
        let event = presence.event(event_type, about, at, self.source_kind);
        self.insert(at_ns, Record::Event(event));
    }

    /// Adds a record that is not a frame, or counts it as too far ahead.
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

    /// Adds a row to the source's table, or counts it as too far ahead.
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

    /// Counts a dropped record, and adds it to the error stream.
    pub fn drop_record(&mut self, reason: &'static str, offset: u64) {
        self.drop_records(reason, 1, offset);
    }

    /// Counts dropped records, and adds one row for them to the error stream.
    pub(crate) fn drop_records(&mut self, reason: &'static str, n_records: u64, offset: u64) {
        self.dropped.push(Dropped { reason, n_records, offset });
        // Errors take memory like records do, and a partition may contain nothing else.
        self.advance(self.ticks.clock_with_room(ERROR_BYTES));
        self.ticks.count(self.clock(), ERROR_BYTES);
        let device = self.sender.name().unwrap_or_default();
        self.errors.push(self.clock(), device, (reason, n_records, offset), &self.records);
    }

    /// Drops the message at an offset because its arrival time is too far ahead.
    pub(crate) fn drop_ahead_message(&mut self, offset: u64) {
        self.drop_records(TOO_FAR_AHEAD, 1, offset);
    }

    /// Drops those records of the message at an offset whose time is too far ahead.
    pub(crate) fn drop_ahead(&mut self, offset: u64) {
        let n_ahead = std::mem::take(&mut self.n_ahead);
        if n_ahead > 0 {
            self.drop_records(TOO_FAR_AHEAD, n_ahead, offset);
        }
    }

    /// Returns the records of closed ticks, and full batches of the current tick.
    pub fn take(&mut self) -> Poll {
        let clock = self.clock();
        self.take_while(|tick| tick < clock)
    }

    /// Closes all ticks and returns all records, for readers that do not use ticks.
    pub fn drain(&mut self) -> Poll {
        self.ticks.close();
        self.take_while(|_| true)
    }

    /// Returns the records of the first ticks that satisfy `is_over`, and full batches of the current tick.
    fn take_while(&mut self, is_over: impl Fn(Tick) -> bool) -> Poll {
        self.latest = None;
        let n_records = std::mem::take(&mut self.n_records);
        self.n_expected = n_records;
        self.frames_per_batch = self.n_expected.div_ceil(self.records.len().max(1));
        self.close_rows(&is_over);
        let waiting = self.records.partition_point(|(tick, _)| is_over(*tick));
        let waiting = self.records.split_off(waiting);
        let mut records = std::mem::replace(&mut self.records, waiting);
        // Batches of later ticks stay, since a position may have to contain them.
        records.extend(take_full(&mut self.records, self.ticks.clock(), self.full_bytes));
        if self.max_delay_ns > 0 {
            for (_, record) in &mut records {
                sort_frames(record);
            }
        }
        Poll {
            records,
            n_records: n_records as u64,
            positions: std::mem::take(&mut self.positions),
            dropped: std::mem::take(&mut self.dropped),
            n_late: std::mem::take(&mut self.n_late),
            clock: self.clock(),
            state: PollState::Ready,
        }
    }

    /// Builds batches from the rows of closed ticks.
    fn close_rows(&mut self, is_over: impl Fn(Tick) -> bool) {
        for rows in self.rows.iter_mut().chain([&mut self.errors.rows]) {
            while let Some((tick, record)) = rows.take_if(&is_over) {
                let behind = self.records.partition_point(|(at, _)| *at <= tick);
                self.records.insert(behind, (tick, record));
            }
        }
    }

    /// Ends the partition at `place`, and returns all records. Panics as [`Collector::record_position`]
    /// does.
    pub fn finish(&mut self, place: &impl Serialize) -> Poll {
        self.commit();
        self.record_position(place);
        let last_tick = self.records.last().map_or(self.clock(), |(tick, _)| *tick);
        let last_row = self.rows.as_ref().and_then(OpenRows::last_tick);
        let last_tick = last_tick.max(last_row.unwrap_or(0));
        self.left = Some(LeftGranule::empty(self.ticks.granule_end(last_tick)));
        self.record_position(place);
        self.ticks.advance(last_tick);
        Poll { state: PollState::End, ..self.drain() }
    }

    /// The latest plausible capture time. The clock does not follow a later one.
    fn latest_ns(&self) -> i64 {
        let known = self.arrived_at_ns.or(self.written_at_ns);
        known.map_or(i64::MAX, |it| it.saturating_add(self.max_ahead_ns))
    }

    /// Assigns the tick of a record of `n_bytes` bytes, and advances the clock.
    fn stamp(&mut self, captured_at_ns: i64, n_bytes: usize) -> Tick {
        let tick = self.tick_of(captured_at_ns);
        self.n_late += u64::from(tick < self.clock());
        self.advance(self.clock_at(captured_at_ns));
        self.advance(self.ticks.clock_with_room(n_bytes));
        let tick = tick.max(self.clock());
        self.ticks.count(tick, n_bytes);
        tick
    }

    /// Returns the clock after a record with this capture time. If device clocks are aligned, the slowest
    /// device determines it.
    pub(super) fn clock_at(&self, captured_at_ns: i64) -> Tick {
        let now_ns = self.devices.slowest_ns(self.arrived_at_ns).unwrap_or(captured_at_ns);
        self.tick_of(now_ns.saturating_sub(self.max_delay_ns))
    }
}
