//! Calibration: how much a link varies while nobody moves.
//!
//! The calibration waits for a stretch of quiet frames, so that somebody who walks through the room delays it
//! and does not spoil it. Afterwards, the threshold follows the same percentile of quiet frames slowly.

use schemas::CalibrationState;
use serde::{Deserialize, Serialize};

use crate::motion::MotionConfig;
use crate::motion::moments::Moments;

/// The correlation of neighbouring frames above which a stretch is not quiet, for [`QUIET_SHARE`] of its frames.
const QUIET_CORRELATION: f32 = 0.2;
const QUIET_SHARE: f64 = 0.9;
/// The threshold is a multiple of a high percentile, which few outliers do not change.
const PERCENTILE: f64 = 0.75;
const MARGIN: f32 = 2.5;
/// The threshold of values that differ by rounding only.
const LEAST_THRESHOLD: f32 = 1e-8;
/// Share of a stretch after which it is looked at again, if it was not quiet.
const LOOK_AGAIN: i64 = 8;
/// The most frames of a stretch.
const MAX_FRAMES: usize = 3000;

/// How fast the threshold follows the room after the calibration: by a share of itself in this time.
const FOLLOW_S: f32 = 600.0;
/// The longest step between two frames that the threshold follows.
const MAX_STEP_S: f32 = 0.1;
/// The threshold stays within this factor of the calibrated one.
const MAX_CHANGE: f32 = 3.0;

/// The state of a calibration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calibration {
    /// Time and moments of the frames so far, in order.
    stretch: Vec<(i64, f32, f32)>,
    began_at_ns: Option<i64>,
    latest_ns: Option<i64>,
    /// The threshold of the variance at the end of the calibration, and now.
    calibrated: Option<f32>,
    threshold: Option<f32>,
}

impl Calibration {
    /// Returns the threshold of the variance, once it is known.
    pub(super) fn threshold(&self) -> Option<f32> {
        self.threshold
    }

    /// True if it was not quiet for too long.
    pub(super) fn has_failed(&self, captured_at_ns: i64, config: &MotionConfig) -> bool {
        let waited_ns = self.began_at_ns.map_or(0, |began_ns| captured_at_ns.abs_diff(began_ns));
        waited_ns >= config.calibration_timeout.as_ns().unsigned_abs()
    }

    pub(super) fn state(&self) -> CalibrationState {
        if self.threshold.is_some() {
            CalibrationState::Done
        } else if self.is_quiet() {
            CalibrationState::Running
        } else {
            CalibrationState::NotQuiet
        }
    }

    /// Adds the moments of a window: to the calibration until it ends, then to the threshold.
    pub(super) fn add(&mut self, captured_at_ns: i64, moments: Moments, config: &MotionConfig) {
        let before_ns = self.latest_ns.replace(captured_at_ns).unwrap_or(captured_at_ns);
        let Some(threshold) = self.threshold else {
            self.began_at_ns.get_or_insert(captured_at_ns);
            self.calibrate(captured_at_ns, moments, config.calibration.as_ns());
            return;
        };
        if let Some(calibrated) = self.calibrated
            && moments.correlation < QUIET_CORRELATION
            && moments.variance < threshold
        {
            let elapsed_s = captured_at_ns.saturating_sub(before_ns).max(0) as f32 * 1e-9;
            let share = elapsed_s.min(MAX_STEP_S) / FOLLOW_S;
            // Steps whose mean is 0 where the percentile is right.
            let is_above = moments.variance * MARGIN > threshold;
            let step = if is_above { PERCENTILE as f32 } else { PERCENTILE as f32 - 1.0 };
            let bounds = (calibrated / MAX_CHANGE, calibrated * MAX_CHANGE);
            self.threshold = Some((threshold * (1.0 + share * step)).clamp(bounds.0, bounds.1));
        }
    }

    /// Adds the moments of a window. Ends with a threshold after a quiet stretch.
    fn calibrate(&mut self, captured_at_ns: i64, moments: Moments, length_ns: i64) {
        if self.stretch.last().is_some_and(|(last_ns, ..)| captured_at_ns < *last_ns) {
            // The clock has jumped.
            self.stretch.clear();
        }
        self.stretch.push((captured_at_ns, moments.correlation, moments.variance));
        let first_ns = self.stretch.first().map_or(captured_at_ns, |(first_ns, ..)| *first_ns);
        let is_long = captured_at_ns.saturating_sub(first_ns) >= length_ns;
        if !is_long && self.stretch.len() < MAX_FRAMES {
            return;
        }
        if self.is_quiet() {
            let variance = self.percentile(PERCENTILE, |(.., variance)| *variance);
            self.stretch = Vec::new();
            self.threshold = Some((MARGIN * variance).max(LEAST_THRESHOLD));
            self.calibrated = self.threshold;
            return;
        }
        let from_ns = first_ns.saturating_add(length_ns / LOOK_AGAIN);
        self.stretch.retain(|(at_ns, ..)| *at_ns > from_ns);
    }

    fn is_quiet(&self) -> bool {
        self.percentile(QUIET_SHARE, |(_, correlation, _)| *correlation) < QUIET_CORRELATION
    }

    /// Returns a percentile of the stretch; infinity if it is empty.
    fn percentile(&self, share: f64, value: impl Fn(&(i64, f32, f32)) -> f32) -> f32 {
        let mut values: Vec<_> = self.stretch.iter().map(value).collect();
        values.sort_unstable_by(f32::total_cmp);
        let last = values.len().saturating_sub(1);
        values.get((last as f64 * share).round() as usize).copied().unwrap_or(f32::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use schemas::TimeSpan;

    use super::*;

    fn moments(correlation: f32, variance: f32) -> Moments {
        Moments { variance, correlation }
    }

    fn config() -> MotionConfig {
        MotionConfig { calibration: TimeSpan::from_s(3), ..MotionConfig::default() }
    }

    /// Adds frames at a hundred a second. Returns the first frame with a threshold, and the threshold.
    fn calibrated(of_frame: impl Fn(i64) -> Moments) -> (Calibration, Option<(i64, f32)>) {
        let mut calibration = Calibration::default();
        let end = (0..10_000).find_map(|nth| {
            calibration.add(nth * 10_000_000, of_frame(nth), &config());
            Some((nth, calibration.threshold()?))
        });
        (calibration, end)
    }

    #[test]
    fn somebody_who_moves_delays_it() {
        let (_, end) =
            calibrated(|nth| if nth < 200 { moments(0.7, 5.0) } else { moments(0.05, 0.1) });
        let (nth, threshold) = end.expect("it becomes quiet");
        assert!((460..=540).contains(&nth), "{nth}");
        assert!((threshold - 0.25).abs() < 1e-6, "{threshold}");
    }

    #[test]
    fn it_tells_why_it_does_not_end() {
        let (calibration, end) = calibrated(|_| moments(0.7, 5.0));
        assert_eq!((end, calibration.state()), (None, CalibrationState::NotQuiet));
        assert!(calibration.has_failed(100_000_000_000, &config()));
        let mut calibration = Calibration::default();
        calibration.add(0, moments(0.05, 0.1), &config());
        assert_eq!(calibration.state(), CalibrationState::Running);
        assert!(!calibration.has_failed(1_000_000_000, &config()));
    }

    #[test]
    fn outliers_do_not_raise_the_threshold() {
        let (_, end) = calibrated(|nth| moments(0.0, if nth % 10 == 0 { 100.0 } else { 0.1 }));
        assert_eq!(end.map(|(_, threshold)| threshold), Some(0.25));
    }

    #[test]
    fn the_threshold_follows_the_room_slowly_and_within_bounds() {
        let (calibration, _) = calibrated(|_| moments(0.0, 0.1));
        let after = |n_minutes: i64, variance: f32| {
            let mut calibration = calibration.clone();
            for nth in 0..n_minutes * 6000 {
                calibration.add(
                    10_000_000_000 + nth * 10_000_000,
                    moments(0.0, variance),
                    &config(),
                );
            }
            calibration.threshold().expect("it is calibrated")
        };
        assert!((after(1, 0.2) / 0.25 - 1.0).abs() < 0.1, "{}", after(1, 0.2));
        assert!((0.4..0.55).contains(&after(30, 0.2)), "{}", after(30, 0.2));
        assert!((after(120, 0.001) - 0.25 / 3.0).abs() < 1e-3, "{}", after(120, 0.001));
        assert_eq!(after(30, 0.3), 0.25, "motion does not raise it");
    }

    #[test]
    fn a_clock_that_jumps_starts_it_again() {
        let mut calibration = Calibration::default();
        for at_ns in [0, i64::MAX, i64::MIN, 0, 5] {
            calibration.add(at_ns, moments(0.0, 0.1), &config());
        }
    }
}
