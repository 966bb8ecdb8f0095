//! Calibration: how much a link varies while nobody moves.
//!
//! The calibration waits for a stretch of quiet frames, so that somebody who walks through the room delays it
//! and does not spoil it.

use serde::{Deserialize, Serialize};

use crate::motion::moving_window::Moments;

/// The correlation of neighbouring frames above which a stretch is not quiet, for [`QUIET_SHARE`] of its frames.
const QUIET_CORRELATION: f32 = 0.2;
const QUIET_SHARE: f64 = 0.9;
/// The threshold is a multiple of a high percentile, which few outliers do not change.
const PERCENTILE: f64 = 0.75;
const MARGIN: f32 = 2.5;
/// Share of a stretch after which it is looked at again, if it was not quiet.
const LOOK_AGAIN: i64 = 8;
/// The most frames of a stretch.
const MAX_FRAMES: usize = 3000;

/// The state of a calibration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calibration {
    /// Time and moments of the frames so far, in order.
    stretch: Vec<(i64, f32, f32)>,
}

impl Calibration {
    /// Adds the moments of a window. Returns the threshold of the variance at the end of a quiet stretch.
    pub(super) fn add(
        &mut self,
        captured_at_ns: i64,
        moments: Moments,
        length_ns: i64,
    ) -> Option<f32> {
        if self.stretch.last().is_some_and(|(last_ns, ..)| captured_at_ns < *last_ns) {
            // The clock has jumped.
            self.stretch.clear();
        }
        self.stretch.push((captured_at_ns, moments.correlation, moments.variance));
        let first_ns = self.stretch.first().map_or(captured_at_ns, |(first_ns, ..)| *first_ns);
        let is_long = captured_at_ns.saturating_sub(first_ns) >= length_ns;
        if !is_long && self.stretch.len() < MAX_FRAMES {
            return None;
        }
        if self.percentile(QUIET_SHARE, |(_, correlation, _)| *correlation) < QUIET_CORRELATION {
            let variance = self.percentile(PERCENTILE, |(.., variance)| *variance);
            self.stretch = Vec::new();
            return Some(MARGIN * variance);
        }
        let from_ns = first_ns.saturating_add(length_ns / LOOK_AGAIN);
        self.stretch.retain(|(at_ns, ..)| *at_ns > from_ns);
        None
    }

    fn percentile(&self, share: f64, value: impl Fn(&(i64, f32, f32)) -> f32) -> f32 {
        let mut values: Vec<_> = self.stretch.iter().map(value).collect();
        values.sort_unstable_by(f32::total_cmp);
        values[((values.len() - 1) as f64 * share).round() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(correlation: f32, variance: f32) -> Moments {
        Moments { variance, correlation }
    }

    #[test]
    fn somebody_who_moves_delays_it() {
        let mut calibration = Calibration::default();
        let of_frame = |nth: i64| {
            let moves = nth < 200;
            if moves { moments(0.7, 5.0) } else { moments(0.05, 0.1) }
        };
        let mut ends = (0..1000).filter_map(|nth| {
            let threshold = calibration.add(nth * 10_000_000, of_frame(nth), 3_000_000_000)?;
            Some((nth, threshold))
        });
        let (nth, threshold) = ends.next().expect("it becomes quiet");
        assert!((460..=540).contains(&nth), "{nth}");
        assert!((threshold - 0.25).abs() < 1e-6, "{threshold}");
    }

    #[test]
    fn outliers_do_not_raise_the_threshold() {
        let mut calibration = Calibration::default();
        let found = (0..).find_map(|nth| {
            let variance = if nth % 10 == 0 { 100.0 } else { 0.1 };
            calibration.add(nth * 10_000_000, moments(0.0, variance), 3_000_000_000)
        });
        assert_eq!(found, Some(0.25));
    }

    #[test]
    fn a_clock_that_jumps_starts_it_again() {
        let mut calibration = Calibration::default();
        for at_ns in [0, i64::MAX, i64::MIN, 0, 5] {
            let _ = calibration.add(at_ns, moments(0.0, 0.1), 3_000_000_000);
        }
    }
}
