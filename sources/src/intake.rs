//! Where a source collects what came in: gives each record its tick, and batches frames.
//!
//! A partition has a monotone clock. A record's tick is the largest tick seen so far, its own
//! included; one that comes late keeps its capture time and travels at the current tick. So ticks are
//! a pure function of what came before, however it was polled.

use num_complex::Complex32;
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, Record, SourceKind, Tick, TickLength};

use crate::{Dropped, Poll, PollState};

/// Names for the devices of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkNames {
    /// The place that is watched.
    pub site: String,
    /// The receiving device.
    pub receiver: String,
    /// The sending device, where the format does not tell.
    pub transmitter: String,
}

/// Collects the records of one partition. Frames of a link and tick stay in order in one contiguous
/// batch; a frame costs no allocation unless its batch is new.
#[derive(Debug)]
pub struct Intake {
    names: LinkNames,
    source_kind: SourceKind,
    tick_length: TickLength,
    clock: Tick,
    arrived_at_ns: Option<i64>,
    batches: Vec<(Tick, CsiBatch)>,
    others: Vec<(Tick, Record)>,
    dropped: Vec<Dropped>,
    n_late: u64,
    n_frames: usize,
}

impl Intake {
    /// An empty intake whose clock stands at zero.
    pub fn new(names: LinkNames, source_kind: SourceKind, tick_length: TickLength) -> Self {
        Self {
            names,
            source_kind,
            tick_length,
            clock: 0,
            arrived_at_ns: None,
            batches: Vec::new(),
            others: Vec::new(),
            dropped: Vec::new(),
            n_late: 0,
            n_frames: 0,
        }
    }

    /// Stamps the frames that follow with the time they came in, instead of the device's time.
    pub fn set_arrival(&mut self, arrived_at_ns: i64) {
        self.arrived_at_ns = Some(arrived_at_ns);
    }

    /// Moves the clock: nothing captured before this can come any more, unless late.
    pub fn advance_to(&mut self, now_ns: i64) {
        self.clock = self.clock.max(self.tick_length.tick_of(now_ns));
    }

    /// Frames and bad records since the last [`Intake::take`].
    pub fn len(&self) -> usize {
        self.n_frames + self.dropped.len()
    }

    /// True when nothing came since the last [`Intake::take`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a frame from the receiver that the names tell.
    pub fn push(
        &mut self,
        transmitter: Option<&str>,
        layout: &CsiLayout,
        frame: CsiFrame,
        values: &[Complex32],
    ) {
        self.push_from(None, transmitter, layout, frame, values);
    }

    /// Adds a frame of `values`, `[n_rx, n_tx, n_subcarriers]`, which must fill `layout`.
    pub fn push_from(
        &mut self,
        receiver: Option<&str>,
        transmitter: Option<&str>,
        layout: &CsiLayout,
        frame: CsiFrame,
        values: &[Complex32],
    ) {
        let captured_at_ns = self.arrived_at_ns.unwrap_or(frame.captured_at_ns);
        let tick = self.stamp(captured_at_ns);
        let batch = self.open_batch(tick, receiver, transmitter, layout);
        batch.iq.extend_from_slice(values);
        let pushed = batch.push_scalars(CsiFrame { captured_at_ns, ..frame });
        debug_assert!(pushed.is_ok(), "a decoder's values must fill its layout");
        self.n_frames += usize::from(pushed.is_ok());
    }

    /// Adds a record that is no frame.
    pub fn push_record(&mut self, captured_at_ns: i64, record: Record) {
        let tick = self.stamp(captured_at_ns);
        self.others.push((tick, record));
    }

    /// Counts a record that could not be used.
    pub fn drop_record(&mut self, reason: &'static str, offset: u64) {
        self.dropped.push(Dropped { reason, offset });
    }

    /// Takes out what came in.
    pub fn take(&mut self, state: PollState) -> Poll {
        self.n_frames = 0;
        let batches = std::mem::take(&mut self.batches);
        let mut records: Vec<_> =
            batches.into_iter().map(|(tick, batch)| (tick, Record::Csi(batch))).collect();
        records.append(&mut self.others);
        records.sort_by_key(|(tick, _)| *tick);
        Poll {
            records,
            dropped: std::mem::take(&mut self.dropped),
            n_late: std::mem::take(&mut self.n_late),
            clock: self.clock,
            state,
        }
    }

    /// The tick of a record, which moves the clock.
    fn stamp(&mut self, captured_at_ns: i64) -> Tick {
        let tick = self.tick_length.tick_of(captured_at_ns);
        self.n_late += u64::from(tick < self.clock);
        self.clock = self.clock.max(tick);
        self.clock
    }

    /// The batch of this tick, link and layout, which a new layout ends.
    fn open_batch(
        &mut self,
        tick: Tick,
        receiver: Option<&str>,
        transmitter: Option<&str>,
        layout: &CsiLayout,
    ) -> &mut CsiBatch {
        let receiver = receiver.unwrap_or(&self.names.receiver);
        let transmitter = transmitter.unwrap_or(&self.names.transmitter);
        let of_tick = self.batches.iter().rev().take_while(|(at, _)| *at == tick);
        let latest = of_tick.zip(1..).find(|((_, batch), _)| {
            batch.link.transmitter == transmitter && batch.link.receiver == receiver
        });
        let open = latest.filter(|((_, batch), _)| batch.layout == *layout);
        let open_idx = open.map(|(_, from_end)| self.batches.len() - from_end);
        let batch_idx = open_idx.unwrap_or_else(|| {
            let link = Link {
                site: self.names.site.clone(),
                receiver: receiver.to_owned(),
                transmitter: transmitter.to_owned(),
            };
            self.batches.push((tick, CsiBatch::new(link, layout.clone(), self.source_kind)));
            self.batches.len() - 1
        });
        &mut self.batches[batch_idx].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(n_subcarriers: i16) -> CsiLayout {
        let subcarriers = (0..n_subcarriers).collect();
        CsiLayout { n_rx: 1, n_tx: 1, subcarriers, ..Default::default() }
    }

    fn intake() -> Intake {
        let tick_length = TickLength::from_ms(10);
        Intake::new(LinkNames::default(), SourceKind::Replay, tick_length)
    }

    fn push(intake: &mut Intake, transmitter: &str, n_subcarriers: i16, captured_at_ms: i64) {
        let values = vec![Complex32::default(); usize::try_from(n_subcarriers).expect("small")];
        let frame = CsiFrame { captured_at_ns: captured_at_ms * 1_000_000, ..Default::default() };
        intake.push(Some(transmitter), &layout(n_subcarriers), frame, &values);
    }

    /// Tick, transmitter, subcarriers and frames of each batch.
    fn shape(poll: &Poll) -> Vec<(Tick, &str, usize, usize)> {
        let shape = poll.records.iter().map(|(tick, record)| {
            let Record::Csi(batch) = record else { panic!("only frames were pushed") };
            let layout = &batch.layout;
            (*tick, batch.link.transmitter.as_str(), layout.subcarriers.len(), batch.len())
        });
        shape.collect()
    }

    #[test]
    fn a_batch_has_one_tick_one_link_and_one_layout() {
        let mut intake = intake();
        for (transmitter, n_subcarriers, captured_at_ms) in [
            ("a", 1, 0),
            ("b", 1, 1),
            ("a", 1, 2),
            ("a", 2, 3),
            ("a", 1, 4),
            ("b", 1, 9),
            ("b", 1, 10),
        ] {
            push(&mut intake, transmitter, n_subcarriers, captured_at_ms);
        }
        assert_eq!(intake.len(), 7);
        let expected =
            [(0, "a", 1, 2), (0, "b", 1, 2), (0, "a", 2, 1), (0, "a", 1, 1), (10, "b", 1, 1)];
        assert_eq!(shape(&intake.take(PollState::Ready)), expected);
        assert!(intake.is_empty());
    }

    #[test]
    fn late_frames_travel_at_the_clock() {
        let mut intake = intake();
        for captured_at_ms in [0, 30, 10, 40] {
            push(&mut intake, "a", 1, captured_at_ms);
        }
        let poll = intake.take(PollState::Ready);
        assert_eq!(shape(&poll), [(0, "a", 1, 1), (30, "a", 1, 2), (40, "a", 1, 1)]);
        assert_eq!((poll.n_late, poll.clock), (1, 40));
    }
}
