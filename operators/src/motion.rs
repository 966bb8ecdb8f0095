//! Motion on a link: the moving variance of turbulence against a calibrated threshold.
//!
//! A moving body changes the differences of amplitudes between subcarriers; the receiver's gain changes all
//! amplitudes alike. So the operator measures the spread over a few subcarriers (turbulence), and compares
//! its variance over a window with that of the quiet room. It does not detect a still person: "still" is not
//! "absent".
//!
//! Source: F. Pace, `ESPectre`: moving variance segmentation, 2025.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use num_complex::Complex32;
use schemars::JsonSchema;
use schemas::{CsiBatch, Link, Motion, Presence, RecordKind, Tick, TimeSpan, stable_hash};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::keyed::{DAY_MS, StateLimits};
use crate::settings::{DAY, Outputs, SHORTEST, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Context, StateKey};

/// The longest moving window in frames: minutes, at any rate of radios.
const MAX_WINDOW_FRAMES: usize = 100_000;

/// Default number of subcarriers for turbulence.
const N_SUBCARRIERS: usize = 12;
/// The percentile of the quiet room's values that is the threshold, before the margin.
const QUIET_PERCENTILE: f64 = 95.0;
const MARGIN: f32 = 1.1;

/// Settings of the `motion` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MotionConfig {
    /// Frames in the moving window, at most 100000; 75 by default.
    #[serde(default = "default_window")]
    pub window_frames: NonZeroUsize,
    /// Positions of the subcarriers to use, from 0; 12 evenly spaced ones by default.
    #[serde(default)]
    pub subcarriers: Vec<usize>,
    /// Length of the calibration, from a link's first frame; "10s" by default. The room must be quiet during
    /// this time. The calibration uses at most 100000 frames.
    #[serde(default = "default_calibration")]
    pub calibration: TimeSpan,
    /// A known threshold. Without it, the operator calibrates one.
    pub threshold: Option<f32>,
    /// Time between reports of a link without a change of motion; "1s" by default.
    #[serde(default = "default_report_every")]
    pub report_every: TimeSpan,
}

impl Settings for MotionConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Presence)]
    }

    fn problems(&self) -> Vec<String> {
        let window = outside("window_frames", self.window_frames.get(), &(1..=MAX_WINDOW_FRAMES));
        let threshold =
            self.threshold.filter(|threshold| !(0.0..f32::INFINITY).contains(threshold));
        let threshold = threshold
            .map(|threshold| format!("threshold must be 0 or a number above, not {threshold}"));
        let calibration = outside("calibration", self.calibration, &(SHORTEST..=DAY));
        let report_every = outside("report_every", self.report_every, &(TimeSpan::ZERO..=DAY));
        [window, threshold, calibration, report_every].into_iter().flatten().collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("motion 2, {} frames", self.window_frames))
    }
}

fn default_window() -> NonZeroUsize {
    NonZeroUsize::new(75).expect("75 is not zero")
}

fn default_calibration() -> TimeSpan {
    TimeSpan::from_s(10)
}

fn default_report_every() -> TimeSpan {
    TimeSpan::from_s(1)
}

/// The most frames of a link for calibration.
const MAX_CALIBRATION_FRAMES: usize = 100_000;

/// Motion detection on streams of CSI.
pub trait DetectMotion<'scope> {
    /// Reports motion on each link, at every change and regularly.
    ///
    /// Motion is "unknown" until the window is full and the threshold is known. State: the window of each
    /// link, on the worker that the link hashes to. A link without frames for a day expires, and is
    /// calibrated again.
    ///
    /// ```
    /// use num_complex::Complex32;
    /// use operators::{Context, DetectMotion, MotionConfig};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, Motion, SourceKind};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..CsiLayout::default() };
    /// let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Live);
    /// for (nth, amplitude) in [10.0, 10.1, 10.0, 14.0].into_iter().enumerate() {
    ///     batch.iq.extend([Complex32::new(10.0, 0.0), Complex32::new(amplitude, 0.0)]);
    ///     let captured_at_ns = nth as i64 * 10_000_000;
    ///     batch.push_scalars(CsiFrame { captured_at_ns, ..CsiFrame::default() })?;
    /// }
    /// let config: MotionConfig = serde_json::from_str(r#"{ "window_frames": 3, "threshold": 0.5 }"#)?;
    /// let (to, found) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![batch].to_stream(scope).container::<Vec<_>>();
    ///     let reports = frames.detect_motion(config, Context::detached("motion"));
    ///     reports.inspect(move |report| to.send(report.motion).unwrap());
    /// });
    /// let found: Vec<_> = found.iter().collect();
    /// assert_eq!(found, [Motion::Unknown, Motion::Still, Motion::Moving]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn detect_motion(
        self,
        config: MotionConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Presence>;
}

impl<'scope> DetectMotion<'scope> for StreamVec<'scope, Tick, CsiBatch> {
    fn detect_motion(
        self,
        config: MotionConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Presence> {
        stateful(self, &context, DetectsMotion { config })
    }
}

struct DetectsMotion {
    config: MotionConfig,
}

impl Stateful for DetectsMotion {
    type Input = CsiBatch;
    type Output = Presence;
    type Key = Link;
    type State = LinkState;

    /// Transmitters use random addresses, so links appear and disappear. A calibration survives a night.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(DAY_MS), max_keys_per_group: 128 };

    fn route(batch: &CsiBatch) -> u64 {
        batch.link.route()
    }

    fn on_tick(&mut self, _tick: Tick, batches: Vec<CsiBatch>, work: &mut Work<'_, Self>) {
        for batch in batches {
            let window_frames = self.config.window_frames;
            let state = work.state.change(&batch.link, || LinkState::new(window_frames));
            state.observe(&batch, &self.config, work.outputs);
        }
    }
}

impl StateKey for Link {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site, &self.receiver, &self.transmitter])
    }
}

/// The state of a link.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinkState {
    window: MovingVariance,
    /// Subcarrier count that `chosen` was made for.
    chosen_for: usize,
    chosen: Vec<usize>,
    quiet_until_ns: Option<i64>,
    quiet: Vec<f32>,
    threshold: Option<f32>,
    reported: Option<(i64, Motion)>,
}

impl LinkState {
    fn new(window_frames: NonZeroUsize) -> Self {
        Self {
            window: MovingVariance::new(window_frames),
            chosen_for: 0,
            chosen: Vec::new(),
            quiet_until_ns: None,
            quiet: Vec::new(),
            threshold: None,
            reported: None,
        }
    }

    fn observe(&mut self, batch: &CsiBatch, config: &MotionConfig, reports: &mut Vec<Presence>) {
        // A frame without antennas has no values.
        let n_subcarriers = batch.layout.subcarriers.len().min(batch.layout.n_values());
        if self.chosen_for != n_subcarriers {
            (self.chosen, self.chosen_for) = (choose(config, n_subcarriers), n_subcarriers);
            // Values of different layouts are not comparable.
            self.window = MovingVariance::new(config.window_frames);
        }
        for frame_idx in 0..batch.len() {
            let captured_at_ns = batch.captured_at_ns[frame_idx];
            let variance = self.window.push(turbulence(batch.values(frame_idx), &self.chosen));
            self.calibrate(captured_at_ns, variance, config);
            let motion = match (variance, self.threshold) {
                (Some(variance), Some(threshold)) if variance > threshold => Motion::Moving,
                (Some(_), Some(_)) => Motion::Still,
                _ => Motion::Unknown,
            };
            if self.due(captured_at_ns, motion, config) {
                self.reported = Some((captured_at_ns, motion));
                reports.push(Presence {
                    site: batch.link.site.clone(),
                    link: format!("{}/{}", batch.link.receiver, batch.link.transmitter),
                    captured_at_ns,
                    motion,
                    moving_variance: variance,
                    threshold: self.threshold,
                    source_kind: batch.source_kind,
                });
            }
        }
    }

    /// Collects values of the quiet room until the calibration ends, then sets the threshold.
    fn calibrate(&mut self, captured_at_ns: i64, variance: Option<f32>, config: &MotionConfig) {
        if self.threshold.is_some() {
            return;
        }
        if config.threshold.is_some() {
            self.threshold = config.threshold;
            return;
        }
        let quiet_ns = config.calibration.as_ns();
        let until_ns = *self.quiet_until_ns.get_or_insert(captured_at_ns.saturating_add(quiet_ns));
        let full = self.quiet.len() >= MAX_CALIBRATION_FRAMES;
        if (captured_at_ns >= until_ns || full) && !self.quiet.is_empty() {
            self.threshold = Some(threshold(&mut std::mem::take(&mut self.quiet)));
        } else {
            self.quiet.extend(variance);
        }
    }

    fn due(&self, captured_at_ns: i64, motion: Motion, config: &MotionConfig) -> bool {
        self.reported.is_none_or(|(reported_at_ns, reported)| {
            // A clock that was once far ahead must not suppress reports of the link.
            let waited_ns = captured_at_ns.abs_diff(reported_at_ns);
            reported != motion || waited_ns >= config.report_every.as_ns().unsigned_abs()
        })
    }
}

/// Returns the subcarriers of the config that exist; evenly spaced ones if there are none.
fn choose(config: &MotionConfig, n_subcarriers: usize) -> Vec<usize> {
    let named = config.subcarriers.iter().copied().filter(|at| *at < n_subcarriers);
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        let n_chosen = N_SUBCARRIERS.min(n_subcarriers);
        (0..n_chosen).map(|nth| (2 * nth + 1) * n_subcarriers / (2 * n_chosen)).collect()
    } else {
        named
    }
}

/// Returns the standard deviation of the amplitudes over the chosen subcarriers of the first antenna pair.
///
/// # Shapes
///
/// - `values`: `[n_rx, n_tx, n_subcarriers]`
/// - `chosen`: positions in `0..n_subcarriers`
///
/// # Panics
///
/// If a position is beyond the values.
pub fn turbulence(values: &[Complex32], chosen: &[usize]) -> f32 {
    let amplitudes = || chosen.iter().map(|at| values[*at].norm());
    let n = chosen.len().max(1) as f32;
    let mean = amplitudes().sum::<f32>() / n;
    (amplitudes().map(|amplitude| (amplitude - mean).powi(2)).sum::<f32>() / n).sqrt()
}

/// The variance of the last few values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MovingVariance {
    window_frames: usize,
    values: VecDeque<f32>,
}

impl MovingVariance {
    /// Returns an empty window.
    pub fn new(window_frames: NonZeroUsize) -> Self {
        let window_frames = window_frames.get();
        // The queue grows with its values: a link with a random address has only one.
        Self { window_frames, values: VecDeque::new() }
    }

    /// Adds a value; returns the variance once the window is full.
    pub fn push(&mut self, value: f32) -> Option<f32> {
        if self.values.len() == self.window_frames {
            self.values.pop_front();
        }
        self.values.push_back(value);
        if self.values.len() < self.window_frames {
            return None;
        }
        let n = self.window_frames as f32;
        let mean = self.values.iter().sum::<f32>() / n;
        Some(self.values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / n)
    }
}

/// Returns the threshold of a quiet room: the 95th percentile of its moving variances, with a margin. Sorts
/// `quiet`; returns 0 if it is empty.
pub fn threshold(quiet: &mut [f32]) -> f32 {
    quiet.sort_by(f32::total_cmp);
    let Some(last) = quiet.len().checked_sub(1) else { return 0.0 };
    // Linear between the neighbours, as NumPy does.
    let rank = QUIET_PERCENTILE / 100.0 * last as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    let share = (rank - rank.floor()) as f32;
    MARGIN * (quiet[below] + share * (quiet[above] - quiet[below]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::{CsiFrame, CsiLayout, SourceKind};

    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::{any_time_ns, remember};

    fn config() -> MotionConfig {
        MotionConfig {
            window_frames: NonZeroUsize::new(4).expect("not zero"),
            subcarriers: vec![0, 1],
            calibration: TimeSpan::from_s(1),
            threshold: None,
            report_every: TimeSpan::from_s(10),
        }
    }

    /// The reports of a link whose subcarriers differ by `spreads`, at ten frames a second.
    fn reports(spreads: &[f32], config: &MotionConfig) -> Vec<(i64, Motion)> {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..Default::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        for (spread, nth) in spreads.iter().zip(0..) {
            batch.iq.extend([Complex32::new(10.0, 0.0), Complex32::new(10.0 + spread, 0.0)]);
            let captured_at_ns = nth * 100_000_000;
            let frame = CsiFrame { captured_at_ns, ..Default::default() };
            batch.push_scalars(frame).expect("the frame is full");
        }
        let mut reports = Vec::new();
        LinkState::new(config.window_frames).observe(&batch, config, &mut reports);
        reports.iter().map(|report| (report.captured_at_ns / 100_000_000, report.motion)).collect()
    }

    /// A frame from a transmitter.
    fn frame(transmitter: &str, captured_at_ns: i64) -> CsiBatch {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..Default::default() };
        let link = Link { transmitter: transmitter.to_owned(), ..Link::default() };
        let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Simulated);
        batch.iq.extend([Complex32::new(10.0, 0.0); 2]);
        let frame = CsiFrame { captured_at_ns, ..Default::default() };
        batch.push_scalars(frame).expect("the frame is full");
        batch
    }

    #[test]
    fn made_up_transmitters_are_forgotten() {
        const N_TICKS: u64 = 60;
        const N_MADE_UP: u64 = 500;
        let of_tick = |nth: u64| {
            let made_up = (0..N_MADE_UP).map(|mth| format!("{:012x}", nth * N_MADE_UP + mth));
            let frames = made_up.chain(["ap".to_owned()]).map(|name| frame(&name, 0));
            (nth * 100, frames.collect::<Vec<_>>())
        };
        let mut inputs: Vec<_> = (0..N_TICKS).map(of_tick).collect();
        inputs.push((2 * DAY_MS, vec![frame("ap", 0)]));
        let found = remember(inputs, |frames, context| frames.detect_motion(config(), context));
        let max_keys = DetectsMotion::LIMITS.max_keys_per_group * N_KEY_GROUPS;
        assert!(found.most_keys <= max_keys, "{} links are saved", found.most_keys);
        assert!(found.dropped["too many keys"] > 10_000, "{:?}", found.dropped);
        // The steady link is not among the dropped ones, except after the idle period at the end.
        assert_eq!(found.dropped.values().sum::<u64>(), N_TICKS * N_MADE_UP + 1);
        assert_eq!(found.n_keys, 1);
    }

    proptest! {
        #[test]
        fn any_time_will_do(times_ns in prop::collection::vec(any_time_ns(), 1..20)) {
            let config = config();
            let (mut link, mut reports) = (LinkState::new(config.window_frames), Vec::new());
            for time_ns in &times_ns {
                link.observe(&frame("ap", *time_ns), &config, &mut reports);
            }
            prop_assert_eq!(reports[0].captured_at_ns, times_ns[0]);
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_does_not_silence_a_link() {
        let config = MotionConfig { threshold: Some(0.5), ..config() };
        let (mut link, mut reports) = (LinkState::new(config.window_frames), Vec::new());
        for time_ns in [0, 1, 2, 3, i64::MAX, 4, 5] {
            link.observe(&frame("ap", time_ns), &config, &mut reports);
        }
        let times_ns: Vec<_> = reports.iter().map(|report| report.captured_at_ns).collect();
        assert_eq!(times_ns, [0, 3, i64::MAX, 4]);
    }

    #[test]
    fn a_frame_without_antennas_has_no_turbulence() {
        let layout = CsiLayout { subcarriers: vec![-1, 1], ..Default::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        batch.push_scalars(CsiFrame::default()).expect("there are no values");
        let (mut link, mut reports) = (LinkState::new(config().window_frames), Vec::new());
        link.observe(&batch, &config(), &mut reports);
        assert_eq!(reports.len(), 1);
    }

    #[test]
    fn unknown_then_still_then_moving() {
        let quiet = [0.1, 0.2].repeat(8);
        let moving = [0.0, 4.0].repeat(4);
        let found = reports(&[quiet, moving].concat(), &config());
        assert_eq!(found, [(0, Motion::Unknown), (10, Motion::Still), (16, Motion::Moving)]);
    }

    #[test]
    fn a_known_threshold_needs_no_calibration() {
        let config = MotionConfig { threshold: Some(0.5), ..config() };
        assert_eq!(reports(&[0.1; 6], &config), [(0, Motion::Unknown), (3, Motion::Still)]);
    }

    #[test]
    fn gain_in_common_is_no_turbulence() {
        let values = [3.0, 3.0, 3.0].map(|amplitude| Complex32::new(0.0, amplitude));
        assert_eq!(turbulence(&values, &[0, 1, 2]), 0.0);
    }

    #[test]
    fn the_threshold_is_a_percentile_with_a_margin() {
        let mut quiet: Vec<f32> = (0..=100).rev().map(|value| value as f32).collect();
        assert!((threshold(&mut quiet) - 104.5).abs() < 1e-4);
        assert_eq!(threshold(&mut []), 0.0);
    }
}
