//! The links of a capture: rates, gaps, clocks, shapes, signal strengths, and the stability of the phase
//! between antennas.

use std::collections::BTreeMap;
use std::fmt;

use num_complex::Complex32;
use schemas::{CsiBatch, CsiLayout};
use serde::Serialize;

const NS_PER_S: f64 = 1e9;
/// A step of the clock between two frames of at least this length is a jump or a gap.
const LONG_STEP_NS: i64 = 1_000_000_000;

/// The summary of a link.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkSummary {
    /// The receiving device.
    pub receiver: String,
    /// The transmitting device.
    pub transmitter: String,
    /// Number of frames.
    pub n_frames: u64,
    /// Number of missing frames by the device's counters, for frames that name their counter.
    pub n_missed: u64,
    /// Time of the first frame, in nanoseconds.
    pub first_ns: i64,
    /// Time of the last frame, in nanoseconds.
    pub last_ns: i64,
    /// Frames per second, without gaps of a second or more.
    pub rate_hz: f64,
    /// Number of backward steps of the clock.
    pub n_back_steps: u64,
    /// Number of forward steps of the clock of a second or more.
    pub n_long_steps: u64,
    /// Signal strengths in dBm: lowest, mean and highest.
    pub rssi_dbm: [f32; 3],
    /// The shapes of its frames.
    pub layouts: Vec<LayoutSummary>,
}

/// The summary of the frames of one shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayoutSummary {
    /// Number of frames.
    pub n_frames: u64,
    /// Receive antennas.
    pub n_rx: u16,
    /// Transmit antennas or spatial streams.
    pub n_tx: u16,
    /// Subcarriers.
    pub n_subcarriers: usize,
    /// Bandwidth in MHz.
    pub bandwidth_mhz: u16,
    /// Centre frequency in MHz; 0 if the format does not contain it.
    pub centre_mhz: u16,
    /// The stability of the phase between two antennas, for each pair.
    pub phase_quality: Vec<PhaseQuality>,
}

/// The stability of the phase between two antennas.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseQuality {
    /// The rows of the antennas.
    pub rows: [usize; 2],
    /// Stability of the phase difference over all frames, from 0 (random) to 1 (constant). Differences
    /// between subcarriers do not reduce it.
    pub steadiness: f32,
}

/// The links of a capture, while it is read.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_name: BTreeMap<(String, String), Link>,
}

#[derive(Debug, Default)]
struct Link {
    n_frames: u64,
    n_missed: u64,
    first_ns: i64,
    last_ns: Option<i64>,
    /// Number of forward steps of the clock of less than a second, and their sum.
    n_steps: u64,
    steps_ns: i64,
    n_back_steps: u64,
    n_long_steps: u64,
    rssi_dbm: Option<[f32; 2]>,
    rssi_sum_dbm: f64,
    layouts: Vec<Shape>,
}

#[derive(Debug)]
struct Shape {
    layout: CsiLayout,
    n_frames: u64,
    /// Pairs of antennas.
    pairs: Vec<[usize; 2]>,
    /// Sums of the unit vectors of the phase difference, for each pair, stream and subcarrier.
    directions: Vec<Complex32>,
}

impl Links {
    pub(super) fn add(&mut self, batch: &CsiBatch) {
        let name = (batch.link.receiver.clone(), batch.link.transmitter.clone());
        self.by_name.entry(name).or_default().add(batch);
    }

    pub(super) fn summaries(self) -> Vec<LinkSummary> {
        let links = self.by_name.into_iter();
        links.map(|((receiver, transmitter), link)| link.summary(receiver, transmitter)).collect()
    }
}

impl Link {
    fn add(&mut self, batch: &CsiBatch) {
        for frame_idx in 0..batch.len() {
            let frame = batch.frame(frame_idx);
            self.n_missed += u64::from(frame.n_missed);
            self.rssi_sum_dbm += f64::from(frame.rssi_dbm);
            let [lowest, highest] = self.rssi_dbm.unwrap_or([frame.rssi_dbm; 2]);
            self.rssi_dbm = Some([lowest.min(frame.rssi_dbm), highest.max(frame.rssi_dbm)]);
            self.step_to(frame.captured_at_ns);
        }
        self.n_frames += batch.len() as u64;
        let known = self.layouts.iter().position(|shape| shape.layout == *batch.layout);
        let idx = known.unwrap_or_else(|| {
            self.layouts.push(Shape::new(CsiLayout::clone(&batch.layout)));
            self.layouts.len() - 1
        });
        self.layouts[idx].add(batch);
    }

    fn step_to(&mut self, now_ns: i64) {
        let Some(last_ns) = self.last_ns.replace(now_ns) else {
            self.first_ns = now_ns;
            return;
        };
        let step_ns = now_ns.saturating_sub(last_ns);
        match step_ns {
            ..0 => self.n_back_steps += 1,
            LONG_STEP_NS.. => self.n_long_steps += 1,
            // Datagrams of one frame have the same time.
            0 => {}
            _ => {
                self.n_steps += 1;
                self.steps_ns = self.steps_ns.saturating_add(step_ns);
            }
        }
    }

    fn rate_hz(&self) -> f64 {
        self.n_steps as f64 * NS_PER_S / self.steps_ns.max(1) as f64
    }

    fn summary(self, receiver: String, transmitter: String) -> LinkSummary {
        let [lowest, highest] = self.rssi_dbm.unwrap_or_default();
        LinkSummary {
            receiver,
            transmitter,
            rate_hz: self.rate_hz(),
            n_frames: self.n_frames,
            n_missed: self.n_missed,
            first_ns: self.first_ns,
            last_ns: self.last_ns.unwrap_or_default(),
            n_back_steps: self.n_back_steps,
            n_long_steps: self.n_long_steps,
            rssi_dbm: [lowest, (self.rssi_sum_dbm / self.n_frames.max(1) as f64) as f32, highest],
            layouts: self.layouts.into_iter().map(Shape::summary).collect(),
        }
    }
}

impl Shape {
    fn new(layout: CsiLayout) -> Self {
        let n_rx = usize::from(layout.n_rx);
        let pairs: Vec<_> = (0..n_rx).flat_map(|a| (a + 1..n_rx).map(move |b| [a, b])).collect();
        let n_per_antenna = layout.n_values() / n_rx.max(1);
        let directions = vec![Complex32::default(); pairs.len() * n_per_antenna];
        Self { layout, n_frames: 0, pairs, directions }
    }

    fn n_per_antenna(&self) -> usize {
        self.layout.n_values() / usize::from(self.layout.n_rx.max(1))
    }

    fn add(&mut self, batch: &CsiBatch) {
        self.n_frames += batch.len() as u64;
        let n_per_antenna = self.n_per_antenna();
        for frame_idx in 0..batch.len() {
            let values = batch.values(frame_idx);
            let antenna = |row: usize| &values[row * n_per_antenna..(row + 1) * n_per_antenna];
            let pairs = self.pairs.iter();
            let against = pairs.flat_map(|[a, b]| antenna(*a).iter().zip(antenna(*b)));
            for (direction, (a, b)) in self.directions.iter_mut().zip(against) {
                let product = b * a.conj();
                let length = product.norm();
                *direction += if length > 0.0 { product / length } else { Complex32::default() };
            }
        }
    }

    fn summary(self) -> LayoutSummary {
        let n_per_antenna = self.n_per_antenna().max(1);
        let n_sums = (self.n_frames.max(1) * n_per_antenna as u64) as f32;
        let pairs = self.pairs.into_iter().zip(self.directions.chunks(n_per_antenna));
        let phase_quality = pairs.map(|(rows, directions)| {
            let steadiness = directions.iter().map(|it| it.norm()).sum::<f32>() / n_sums;
            PhaseQuality { rows, steadiness }
        });
        let phase_quality = phase_quality.collect();
        let CsiLayout { n_rx, n_tx, bandwidth_mhz, centre_mhz, .. } = self.layout;
        LayoutSummary {
            n_frames: self.n_frames,
            n_rx,
            n_tx,
            n_subcarriers: self.layout.subcarriers.len(),
            bandwidth_mhz,
            centre_mhz,
            phase_quality,
        }
    }
}

impl fmt::Display for LinkSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receiver, transmitter, n_frames, n_missed, rate_hz, .. } = self;
        writeln!(formatter, "link {receiver} <- {transmitter}")?;
        writeln!(
            formatter,
            "  frames: {n_frames}, {n_missed} missing by the counter, {rate_hz:.1} Hz"
        )?;
        let duration_s = self.last_ns.saturating_sub(self.first_ns) as f64 / NS_PER_S;
        let (back, long) = (self.n_back_steps, self.n_long_steps);
        writeln!(
            formatter,
            "  clock: {duration_s:.3} s from first to last, {back} steps back, {long} of more than a second"
        )?;
        let [lowest, mean, highest] = self.rssi_dbm;
        writeln!(formatter, "  signal: {lowest:.1} to {highest:.1} dBm, {mean:.1} on average")?;
        self.layouts.iter().try_for_each(|layout| write!(formatter, "{layout}"))
    }
}

impl fmt::Display for LayoutSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_frames, n_rx, n_tx, n_subcarriers, bandwidth_mhz, centre_mhz, .. } = self;
        write!(
            formatter,
            "  shape {n_rx}x{n_tx}, {n_subcarriers} subcarriers, {bandwidth_mhz} MHz"
        )?;
        if *centre_mhz > 0 {
            write!(formatter, " at {centre_mhz} MHz")?;
        }
        write!(formatter, ": {n_frames} frames")?;
        writeln!(formatter)?;
        for PhaseQuality { rows: [a, b], steadiness } in &self.phase_quality {
            writeln!(formatter, "    phase between rows {a} and {b}: steady to {steadiness:.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::{CsiFrame, SourceKind};

    use super::*;

    #[test]
    fn tells_rates_gaps_jumps_and_phase() {
        let layout =
            CsiLayout { n_rx: 3, n_tx: 1, subcarriers: vec![-1, 1], ..CsiLayout::default() };
        let mut batch = CsiBatch::new(schemas::Link::default(), layout.into(), SourceKind::Replay);
        let mut now_ms = 0;
        for nth in 0..1000_u16 {
            now_ms += match nth {
                0 => 0,
                500 => -3000,
                700 => 5000,
                _ => 10,
            };
            // The second antenna keeps its phase, the third does not.
            let turning = Complex32::from_polar(2.0, f32::from(nth));
            let steady = Complex32::new(0.0, 3.0);
            batch.iq.extend([[Complex32::new(1.0, 0.0); 2], [steady; 2], [turning; 2]].concat());
            let frame = CsiFrame {
                captured_at_ns: now_ms * 1_000_000,
                rssi_dbm: -40.0 - f32::from(nth % 3),
                n_missed: u32::from(nth == 9) * 4,
                ..CsiFrame::default()
            };
            batch.push_scalars(frame).expect("the frame is full");
        }
        let mut links = Links::default();
        links.add(&batch);
        let summaries = links.summaries();
        let [link] = &summaries[..] else { panic!("one link") };
        assert_eq!((link.n_frames, link.n_missed), (1000, 4));
        assert_eq!((link.n_back_steps, link.n_long_steps), (1, 1));
        assert!((link.rate_hz - 100.0).abs() < 1e-6, "{}", link.rate_hz);
        assert_eq!([link.rssi_dbm[0], link.rssi_dbm[2]], [-42.0, -40.0]);
        let quality: Vec<_> =
            link.layouts[0].phase_quality.iter().map(|it| (it.rows, it.steadiness)).collect();
        let [([0, 1], steady), ([0, 2], turning), ([1, 2], other)] = quality[..] else {
            panic!("{quality:?}")
        };
        assert!((steady - 1.0).abs() < 1e-3 && turning < 0.01 && other < 0.01, "{quality:?}");
    }
}
