//! Frames at any times as rows at a fixed rate.

use serde::{Deserialize, Serialize};

/// The longest gap that is filled with the last row: 3 s.
const MAX_GAP: i64 = 15;
/// The most frames that arrive late and still count.
const MAX_BACK: i64 = 5;

/// Averages the frames of each interval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Resampler {
    interval_ns: i64,
    /// The open interval: its number, the sums of its frames, and their number.
    open: Option<i64>,
    sums: Vec<f32>,
    n_frames: f32,
}

/// What a frame closes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Closed {
    /// Nothing: its interval is still open.
    Nothing,
    /// An interval, whose mean is `row`. It is repeated for intervals without frames.
    Row { row: Vec<f32>, n_repeats: usize },
    /// The rows so far: the clock has jumped, or frames were missing for too long.
    Everything,
}

impl Resampler {
    pub(super) fn new(interval_ns: i64) -> Self {
        Self { interval_ns, open: None, sums: Vec::new(), n_frames: 0.0 }
    }

    /// Adds a frame. Frames must have the same number of columns.
    pub(super) fn push(&mut self, captured_at_ns: i64, frame: &[f32]) -> Closed {
        let interval = captured_at_ns.div_euclid(self.interval_ns);
        let steps = self.open.map_or(0, |open| interval.saturating_sub(open));
        if !(-MAX_BACK..=MAX_GAP).contains(&steps) {
            self.begin(interval, frame);
            return Closed::Everything;
        }
        if self.open.is_none() || steps > 0 {
            let row: Vec<_> = self.sums.iter().map(|sum| sum / self.n_frames).collect();
            let was_open = self.open.is_some();
            self.begin(interval, frame);
            // Positive and at most MAX_GAP.
            let n_repeats = steps as usize;
            return if was_open { Closed::Row { row, n_repeats } } else { Closed::Nothing };
        }
        for (sum, value) in self.sums.iter_mut().zip(frame) {
            *sum += value;
        }
        self.n_frames += 1.0;
        Closed::Nothing
    }

    fn begin(&mut self, interval: i64, frame: &[f32]) {
        self.open = Some(interval);
        self.sums.clear();
        self.sums.extend_from_slice(frame);
        self.n_frames = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_an_interval_are_averaged() {
        let mut resampler = Resampler::new(100);
        let closed: Vec<_> = [(0, 1.0), (50, 3.0), (120, 5.0), (110, 7.0), (410, 0.0)]
            .map(|(at_ns, value)| resampler.push(at_ns, &[value]))
            .into();
        let row = |value, n_repeats| Closed::Row { row: vec![value], n_repeats };
        let expected =
            [Closed::Nothing, Closed::Nothing, row(2.0, 1), Closed::Nothing, row(6.0, 3)];
        assert_eq!(closed, expected);
    }

    #[test]
    fn gaps_and_jumps_start_again() {
        let mut resampler = Resampler::new(100);
        for at_ns in [0, 100_000, -100_000, i64::MAX, i64::MIN, 0] {
            let closed = resampler.push(at_ns, &[1.0]);
            assert_eq!(closed == Closed::Everything, at_ns != 0 || closed != Closed::Nothing);
        }
        assert!(matches!(resampler.push(100, &[1.0]), Closed::Row { .. }));
    }
}
