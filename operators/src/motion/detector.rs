//! The detection on one link.

use num_complex::Complex32;
use schemas::{CalibrationState, CsiBatch, Motion, Presence, PresenceState};
use serde::{Deserialize, Serialize};

use crate::amplitudes::{evenly_spaced, quadratic_mean, relative_amplitudes, scaled_amplitudes};
use crate::hampel::Hampel;
use crate::motion::breathing::{Breathing, BreathingState};
use crate::motion::calibration::Calibration;
use crate::motion::moments::{ColumnSums, Moments, moments};
use crate::motion::{GainCompensation, MotionConfig};
use crate::moving_window::MovingWindow;

/// Default number of subcarriers.
const N_SUBCARRIERS: usize = 12;
/// The history of the Hampel filter, and its limit in standard deviations.
const HAMPEL_FRAMES: usize = 15;
const HAMPEL_SIGMAS: f32 = 4.0;
/// The correlation of neighbouring frames above which a body moves. Without motion it is below 0.25 on every
/// receiver that was measured, with motion above 0.45.
const CORRELATION_THRESHOLD: f32 = 0.3;
/// The score below which motion may be over.
const HYSTERESIS: f32 = 0.8;

/// The detection of motion on one link, outside of a dataflow.
#[derive(Debug)]
pub struct MotionDetector {
    config: MotionConfig,
    state: LinkState,
    buffers: Buffers,
}

impl MotionDetector {
    /// Returns the detector of a new link.
    pub fn new(config: MotionConfig) -> Self {
        let state = LinkState::new(&config);
        Self { config, state, buffers: Buffers::default() }
    }

    /// Adds the frames of the link, in capture order, and appends the reports.
    pub fn observe(&mut self, batch: &CsiBatch, reports: &mut Vec<Presence>) {
        self.state.observe(batch, &self.config, &mut self.buffers, reports);
    }
}

/// The state of a link.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkState {
    /// The number of values and the setting that `chosen` was made for.
    n_values: usize,
    named: Vec<usize>,
    chosen: Vec<usize>,
    /// The quadratic mean of the first frame of this shape, by the reported gain.
    level: f32,
    hampel: Hampel,
    window: MovingWindow,
    calibration: Calibration,
    /// The time of the latest evidence of motion.
    moved_at_ns: Option<i64>,
    /// None if breathing is not looked for.
    breathing: Option<BreathingState>,
    reported: Option<Reported>,
}

/// The last report.
#[derive(Debug, Serialize, Deserialize)]
struct Reported {
    at_ns: i64,
    motion: Motion,
    presence: PresenceState,
}

/// Buffers of a worker, kept to avoid allocations.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    amplitudes: Vec<f32>,
    sums: ColumnSums,
}

impl LinkState {
    pub(super) fn new(config: &MotionConfig) -> Self {
        Self {
            n_values: 0,
            named: Vec::new(),
            chosen: Vec::new(),
            level: 1.0,
            hampel: Hampel::new(HAMPEL_FRAMES, HAMPEL_SIGMAS),
            window: MovingWindow::new(config.window_frames),
            calibration: Calibration::default(),
            moved_at_ns: None,
            breathing: config.breathing.then(BreathingState::new),
            reported: None,
        }
    }

    /// Forgets the threshold, as for a link whose devices were moved.
    pub(super) fn calibrate_again(&mut self) {
        self.calibration = Calibration::default();
        self.moved_at_ns = None;
    }

    pub(super) fn observe(
        &mut self,
        batch: &CsiBatch,
        config: &MotionConfig,
        buffers: &mut Buffers,
        reports: &mut Vec<Presence>,
    ) {
        for frame_idx in 0..batch.len() {
            let captured_at_ns = batch.captured_at_ns[frame_idx];
            let (values, scale) = (batch.values(frame_idx), batch.scale[frame_idx]);
            let moments = self.moments(values, scale, config, buffers);
            let score = moments.and_then(|moments| self.score(captured_at_ns, moments, config));
            let motion = self.motion(captured_at_ns, score, config);
            if let Some(breathing) = &mut self.breathing {
                breathing.observe(captured_at_ns, &buffers.amplitudes, motion);
            }
            let presence = self.presence(motion);
            if self.due(captured_at_ns, (motion, presence), config) {
                self.reported = Some(Reported { at_ns: captured_at_ns, motion, presence });
                let breathing = self.breathing.as_ref().and_then(BreathingState::found);
                let vitals = breathing.and_then(Breathing::vitals);
                reports.push(Presence {
                    site: batch.link.site.clone(),
                    link: batch.link.name(),
                    captured_at_ns,
                    motion,
                    moving_variance: moments.map(|moments| moments.variance),
                    threshold: self.threshold(config),
                    correlation: moments.map(|moments| moments.correlation),
                    calibration: Some(self.calibration_state(moments.is_some(), config)),
                    presence: Some(presence),
                    breaths_per_minute: vitals.map(|vitals| vitals.breaths_per_minute),
                    confidence: score.map(|score| confidence(motion, score)),
                    source_kind: batch.source_kind,
                });
            }
        }
    }

    /// Adds a frame. Returns the moments of the window once it is full.
    fn moments(
        &mut self,
        values: &[Complex32],
        scale: f32,
        config: &MotionConfig,
        Buffers { amplitudes, sums }: &mut Buffers,
    ) -> Option<Moments> {
        let has_changed = self.n_values != values.len() || self.named != config.subcarriers;
        if has_changed || self.chosen.is_empty() {
            self.n_values = values.len();
            self.named.clone_from(&config.subcarriers);
            self.chosen = choose(config, values);
            // Values of different shapes are not comparable.
            self.hampel = Hampel::new(HAMPEL_FRAMES, HAMPEL_SIGMAS);
            self.window = MovingWindow::new(config.window_frames);
            self.breathing = config.breathing.then(BreathingState::new);
            self.level = scale * quadratic_mean(values, &self.chosen);
        }
        match config.gain {
            GainCompensation::Relative => relative_amplitudes(values, &self.chosen, amplitudes),
            GainCompensation::Reported => {
                scaled_amplitudes(values, &self.chosen, scale / self.level, amplitudes);
            }
        }
        self.hampel.filter(amplitudes);
        let window = self.window.push(amplitudes)?;
        Some(moments(window, amplitudes.len(), sums))
    }

    /// Returns the moments in relation to their thresholds: more than 1 is motion. None before the calibration
    /// has ended or failed.
    fn score(
        &mut self,
        captured_at_ns: i64,
        moments: Moments,
        config: &MotionConfig,
    ) -> Option<f32> {
        let of_correlation = moments.correlation / CORRELATION_THRESHOLD;
        if config.threshold.is_none() {
            self.calibration.add(captured_at_ns, moments, config);
        }
        match self.threshold(config) {
            Some(threshold) => {
                Some(of_correlation.max(moments.variance / threshold.max(f32::MIN_POSITIVE)))
            }
            None if self.calibration.has_failed(captured_at_ns, config) => Some(of_correlation),
            None => None,
        }
    }

    /// Returns the threshold of the settings, or the calibrated one.
    fn threshold(&self, config: &MotionConfig) -> Option<f32> {
        config.threshold.or(self.calibration.threshold())
    }

    fn calibration_state(&self, is_full: bool, config: &MotionConfig) -> CalibrationState {
        let has_named = !config.subcarriers.is_empty();
        if self.chosen.is_empty() && has_named {
            CalibrationState::NoSubcarriers
        } else if self.chosen.is_empty() {
            CalibrationState::NoSignal
        } else if self.threshold(config).is_some() {
            CalibrationState::Done
        } else if is_full {
            self.calibration.state()
        } else {
            CalibrationState::FillingWindow
        }
    }

    /// Motion begins above the threshold, and ends some time after the last score that is clearly below.
    fn motion(&mut self, captured_at_ns: i64, score: Option<f32>, config: &MotionConfig) -> Motion {
        let Some(score) = score else { return Motion::Unknown };
        let is_moving = self.moved_at_ns.is_some();
        if score > 1.0 || is_moving && score > HYSTERESIS {
            self.moved_at_ns = Some(captured_at_ns);
        }
        // A clock that was once far ahead must not hold the motion.
        let hold_ns = config.hold.as_ns().unsigned_abs();
        let is_over = |moved_at_ns: i64| captured_at_ns.abs_diff(moved_at_ns) > hold_ns;
        self.moved_at_ns = self.moved_at_ns.filter(|moved_at_ns| !is_over(*moved_at_ns));
        if self.moved_at_ns.is_some() { Motion::Moving } else { Motion::Still }
    }

    /// Somebody who moves or breathes is present. Nobody is, if nothing moves at all.
    fn presence(&self, motion: Motion) -> PresenceState {
        match (motion, self.breathing.as_ref().and_then(BreathingState::found)) {
            (Motion::Moving, _) | (_, Some(Breathing::Found(_))) => PresenceState::Present,
            (_, Some(Breathing::Nothing)) => PresenceState::Absent,
            _ => PresenceState::Unknown,
        }
    }

    fn due(
        &self,
        captured_at_ns: i64,
        found: (Motion, PresenceState),
        config: &MotionConfig,
    ) -> bool {
        self.reported.as_ref().is_none_or(|Reported { at_ns, motion, presence }| {
            // A clock that was once far ahead must not suppress reports of the link.
            let waited_ns = captured_at_ns.abs_diff(*at_ns);
            let has_changed = (*motion, *presence) != found;
            has_changed || waited_ns >= config.report_every.as_ns().unsigned_abs()
        })
    }
}

/// Returns how clearly a score is above or below the threshold: from 0.5 at the threshold to 1.
fn confidence(motion: Motion, score: f32) -> f32 {
    let moving = 1.0 - (1.0 + score * score).recip();
    let confidence = if motion == Motion::Moving { moving } else { 1.0 - moving };
    // Within the hold, the score can be below the threshold.
    confidence.max(0.5)
}

/// Returns the values that the config names and that exist; evenly spaced ones with a signal if it names none.
fn choose(config: &MotionConfig, values: &[Complex32]) -> Vec<usize> {
    if config.subcarriers.is_empty() {
        return evenly_spaced(values, N_SUBCARRIERS);
    }
    config.subcarriers.iter().copied().filter(|at| *at < values.len()).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use schemas::{CsiFrame, CsiLayout, Link, SourceKind, TimeSpan};

    use super::*;
    use crate::testing::{any_time_ns, frame};

    fn config() -> MotionConfig {
        MotionConfig {
            window_frames: NonZeroUsize::new(4).expect("not zero"),
            subcarriers: vec![0, 1],
            calibration: TimeSpan::from_s(1),
            calibration_timeout: TimeSpan::from_s(1000),
            threshold: None,
            report_every: TimeSpan::from_s(10),
            hold: TimeSpan::ZERO,
            gain: GainCompensation::Relative,
            breathing: false,
        }
    }

    /// A link at a hundred frames a second: noise of the receiver, a gain that changes, and a body that moves
    /// from `moves_from` on.
    fn link(moves_from: usize, n_frames: usize) -> CsiBatch {
        let subcarriers: Vec<_> = (-16..16).collect();
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers, ..CsiLayout::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for nth in 0..n_frames {
            let gain = if nth / 40 % 2 == 0 { 10.0 } else { 25.0 };
            let path_m = if nth < moves_from { 0.0 } else { 0.01 * (nth - moves_from) as f32 };
            batch.iq.extend((0..32).map(|subcarrier| {
                let noise =
                    Complex32::new(random.random_range(-0.1..0.1), random.random_range(-0.1..0.1));
                let reflected = Complex32::from_polar(0.3, path_m * 50.0 + subcarrier as f32 * 0.2);
                gain * (1.0 + reflected + noise)
            }));
            let captured_at_ns = i64::try_from(nth).expect("few") * 10_000_000;
            batch
                .push_scalars(CsiFrame { captured_at_ns, ..CsiFrame::default() })
                .expect("the frame is full");
        }
        batch
    }

    /// The reports of a batch: the frame and the motion.
    fn reports(batch: &CsiBatch, config: &MotionConfig) -> Vec<(i64, Motion)> {
        let mut reports = Vec::new();
        LinkState::new(config).observe(batch, config, &mut Buffers::default(), &mut reports);
        reports.iter().map(|report| (report.captured_at_ns / 10_000_000, report.motion)).collect()
    }

    fn defaults() -> MotionConfig {
        serde_json::from_str(r#"{ "report_every": "1h" }"#).expect("all settings have defaults")
    }

    proptest! {
        #[test]
        fn any_time_will_do(times_ns in prop::collection::vec(any_time_ns(), 1..20)) {
            let config = config();
            let (mut link, mut reports) = (LinkState::new(&config), Vec::new());
            for time_ns in &times_ns {
                link.observe(&frame("ap", *time_ns), &config, &mut Buffers::default(), &mut reports);
            }
            prop_assert_eq!(reports[0].captured_at_ns, times_ns[0]);
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_does_not_silence_a_link() {
        let config = MotionConfig { threshold: Some(0.5), ..config() };
        let (mut link, mut reports) = (LinkState::new(&config), Vec::new());
        for time_ns in [0, 1, 2, 3, i64::MAX, 4, 5] {
            link.observe(&frame("ap", time_ns), &config, &mut Buffers::default(), &mut reports);
        }
        let times_ns: Vec<_> = reports.iter().map(|report| report.captured_at_ns).collect();
        assert_eq!(times_ns, [0, 3, i64::MAX, 4]);
    }

    #[test]
    fn frames_without_values_are_unknown() {
        let layout = CsiLayout { subcarriers: vec![-1, 1], ..Default::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        batch.push_scalars(CsiFrame::default()).expect("there are no values");
        assert_eq!(reports(&batch, &config()), [(0, Motion::Unknown)]);
        let mut silent = link(0, 200);
        silent.iq.fill(Complex32::ZERO);
        assert_eq!(reports(&silent, &defaults()), [(0, Motion::Unknown)]);
        silent.iq.fill(Complex32::new(f32::NAN, f32::INFINITY));
        assert_eq!(reports(&silent, &defaults()), [(0, Motion::Unknown)]);
    }

    #[test]
    fn a_threshold_that_is_set_later_applies() {
        let (mut link, config) = (LinkState::new(&defaults()), defaults());
        let observe = |link: &mut LinkState, config: &MotionConfig| {
            let mut reports = Vec::new();
            let batch = super::tests::link(usize::MAX, 500);
            link.observe(&batch, config, &mut Buffers::default(), &mut reports);
            reports.last().and_then(|report| report.threshold)
        };
        assert!(observe(&mut link, &config).is_some_and(|threshold| threshold < 0.1));
        let known =
            MotionConfig { threshold: Some(0.5), report_every: TimeSpan::ZERO, ..defaults() };
        assert_eq!(observe(&mut link, &known), Some(0.5));
    }

    #[test]
    fn confidence_is_sure_of_any_score() {
        for score in [1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(confidence(Motion::Moving, score), 1.0);
            assert_eq!(confidence(Motion::Still, score), 0.5);
        }
        assert_eq!(confidence(Motion::Still, 0.0), 1.0);
    }

    #[test]
    fn a_reported_gain_shows_changes_of_the_whole_channel() {
        // Everything fades alike, from the 600th frame on; the gain steps, and is reported.
        let mut batch = link(usize::MAX, 1000);
        for (nth, values) in batch.iq.chunks_exact_mut(32).enumerate() {
            let fade = if nth < 600 { 1.0 } else { 1.0 + 0.3 * (nth as f32 * 0.2).sin() };
            for value in values {
                *value *= fade;
            }
            batch.scale[nth] = if nth / 40 % 2 == 0 { 0.1 } else { 0.04 };
        }
        let moves = |gain| {
            let found = reports(&batch, &MotionConfig { gain, ..defaults() });
            found.iter().find(|(_, motion)| *motion == Motion::Moving).map(|(frame, _)| *frame)
        };
        assert_eq!(moves(GainCompensation::Relative), None);
        let reported = moves(GainCompensation::Reported);
        assert!(reported.is_some_and(|frame| (600..660).contains(&frame)), "{reported:?}");
    }

    #[test]
    fn subcarriers_that_do_not_exist_are_told() {
        let config = MotionConfig { subcarriers: vec![999], ..defaults() };
        let mut reports = Vec::new();
        MotionDetector::new(config).observe(&link(0, 200), &mut reports);
        let states: Vec<_> = reports.iter().map(|report| report.calibration).collect();
        assert_eq!(states, [Some(CalibrationState::NoSubcarriers)]);
        assert_eq!(reports[0].motion, Motion::Unknown);
    }

    #[test]
    fn gain_is_no_motion_and_a_body_is() {
        let found = reports(&link(800, 1000), &defaults());
        let [(0, Motion::Unknown), (calibrated, Motion::Still), (moved, Motion::Moving)] =
            found[..]
        else {
            panic!("{found:?}")
        };
        assert!((370..=380).contains(&calibrated), "a window and three seconds: {calibrated}");
        assert!((800..=860).contains(&moved), "{moved}");
    }

    #[test]
    fn motion_ends_after_the_hold() {
        let mut batch = link(400, 600);
        let after = link(usize::MAX, 600);
        for (values, nth) in after.iq.chunks(32).zip(600..) {
            batch.iq.extend_from_slice(values);
            let frame = CsiFrame { captured_at_ns: nth * 10_000_000, ..CsiFrame::default() };
            batch.push_scalars(frame).expect("the frame is full");
        }
        let ends = |hold| {
            let found = reports(&batch, &MotionConfig { hold, ..defaults() });
            assert_eq!(found.last().map(|(_, motion)| *motion), Some(Motion::Still), "{found:?}");
            found.last().map_or(0, |(frame, _)| *frame)
        };
        let (short, long) = (ends(TimeSpan::ZERO), ends(TimeSpan::from_s(2)));
        assert!((190..=210).contains(&(long - short)), "{short} {long}");
    }

    #[test]
    fn a_known_threshold_needs_no_calibration() {
        let config = MotionConfig { threshold: Some(0.05), ..defaults() };
        let found = reports(&link(usize::MAX, 200), &config);
        assert_eq!(found, [(0, Motion::Unknown), (74, Motion::Still)]);
    }

    #[test]
    fn a_burst_of_interference_is_no_motion() {
        let mut batch = link(usize::MAX, 1000);
        for frame in [500, 501, 620, 700, 701, 702] {
            for value in &mut batch.iq[frame * 32..(frame + 1) * 32] {
                *value *= Complex32::new(0.2, 3.0);
            }
            batch.iq[frame * 32..frame * 32 + 9].fill(Complex32::new(400.0, 0.0));
        }
        let found = reports(&batch, &defaults());
        assert!(found.iter().all(|(_, motion)| *motion != Motion::Moving), "{found:?}");
    }
}
