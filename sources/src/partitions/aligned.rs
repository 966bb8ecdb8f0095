//! Corrects device clocks: removes jumps, wraps and drift.
//!
//! A device clock measures the interval between two frames well, until it jumps. The frame counter detects
//! a jump: it shows the number of frames in between. If the arrival time is known, the clock follows it.

use serde::{Deserialize, Serialize};

/// The usual jitter of a network.
pub(crate) const JITTER_NS: i64 = 200_000_000;
/// Largest error against the arrival time that is not a jump.
const MAX_ERROR_NS: i64 = 1_000_000_000;
/// A step is a jump if it is this many times longer than the counter predicts, and longer than
/// `MAX_ERROR_NS`.
const MAX_STRETCH: f64 = 20.0;
/// Weight of a new interval in the average interval.
const INTERVAL_GAIN: f64 = 0.05;
/// Share of the error against the arrival time that each frame corrects. It is small, so that the clock
/// follows drift but not jitter.
const DRIFT_GAIN: f64 = 1.0 / 256.0;

/// The aligned clock of one device, at its latest frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "units are last in names")]
pub(crate) struct AlignedClock {
    device_ns: i64,
    aligned_ns: i64,
    /// The average time from one count to the next; zero before it is known.
    interval_ns: f64,
}

impl AlignedClock {
    /// A clock at the first frame: at its arrival time if known, otherwise at its device time.
    pub(crate) fn new(device_ns: i64, arrived_at_ns: Option<i64>) -> Self {
        let aligned_ns = arrived_at_ns.unwrap_or(device_ns);
        Self { device_ns, aligned_ns, interval_ns: 0.0 }
    }

    /// The time of the latest frame.
    pub(crate) fn now_ns(&self) -> i64 {
        self.aligned_ns
    }

    /// Advances to a frame that is `n_counts` counts after the last one, and returns its time. The time
    /// never goes back.
    pub(crate) fn step(
        &mut self,
        device_ns: i64,
        n_counts: u32,
        arrived_at_ns: Option<i64>,
    ) -> i64 {
        let n_counts = f64::from(n_counts.max(1));
        let step_ns = device_ns.saturating_sub(self.device_ns);
        self.device_ns = device_ns;
        let expected_ns = (n_counts * self.interval_ns) as i64;
        let aligned_ns = match arrived_at_ns {
            Some(arrived_at_ns) => follow(self.aligned_ns.saturating_add(step_ns), arrived_at_ns),
            None if jumped(step_ns, expected_ns) => self.aligned_ns.saturating_add(expected_ns),
            None => self.aligned_ns.saturating_add(step_ns),
        };
        if !jumped(step_ns, expected_ns) {
            let gain = if self.interval_ns > 0.0 { INTERVAL_GAIN } else { 1.0 };
            self.interval_ns += gain * (step_ns as f64 / n_counts - self.interval_ns);
        }
        self.aligned_ns = aligned_ns.max(self.aligned_ns);
        self.aligned_ns
    }
}

/// True if a device clock jumped by this step. Before an interval is known, only a step back is a jump.
fn jumped(step_ns: i64, expected_ns: i64) -> bool {
    let too_long = expected_ns > 0 && step_ns as f64 > MAX_STRETCH * expected_ns as f64;
    step_ns < 0 || (too_long && step_ns > MAX_ERROR_NS)
}

/// Pulls a clock towards the arrival time. The result is never later than the arrival, since a frame is
/// measured before it arrives. An error above `MAX_ERROR_NS` sets the clock to the arrival time.
fn follow(aligned_ns: i64, arrived_at_ns: i64) -> i64 {
    let error_ns = arrived_at_ns.saturating_sub(aligned_ns);
    if error_ns.saturating_abs() > MAX_ERROR_NS {
        return arrived_at_ns;
    }
    arrived_at_ns.min(aligned_ns.saturating_add((error_ns as f64 * DRIFT_GAIN) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Aligned times of frames with these device times and counts; all times are in milliseconds.
    fn aligned(frames: &[(i64, u32)], arrivals: Option<&[i64]>) -> Vec<i64> {
        let arrived_at_ns = |nth: usize| arrivals.map(|arrivals| arrivals[nth] * MS);
        let (first_ms, mut last) = frames[0];
        let mut clock = AlignedClock::new(first_ms * MS, arrived_at_ns(0));
        let begun_ms = clock.aligned_ns / MS;
        let later = frames.iter().enumerate().skip(1).map(|(nth, (device_ms, count))| {
            // The counter has 16 bits.
            let n_counts = count.wrapping_sub(std::mem::replace(&mut last, *count)) & 0xFFFF;
            clock.step(device_ms * MS, n_counts, arrived_at_ns(nth)) / MS
        });
        std::iter::once(begun_ms).chain(later).collect()
    }

    #[test]
    fn the_counter_tells_what_a_jump_hides() {
        let frames = [(1000, 7), (1010, 8), (1020, 9), (1040, 11), (1050, 12)];
        assert_eq!(aligned(&frames, None), [1000, 1010, 1020, 1040, 1050], "a steady clock stays");
        // The clock steps back by seven seconds while two frames are lost, then forward by ten.
        let jumps = [(10_000, 7), (10_010, 8), (3020, 11), (3030, 12), (13_040, 13)];
        assert_eq!(aligned(&jumps, None), [10_000, 10_010, 10_040, 10_050, 10_060]);
        let wrap = [(100, 65_535), (110, 0), (50, 1)];
        assert_eq!(aligned(&wrap, None), [100, 110, 120], "a counter of 16 bits wraps");
        let pause = [(100, 1), (110, 2), (1050, 3)];
        assert_eq!(aligned(&pause, None), [100, 110, 1050], "a short pause is one");
    }

    #[test]
    fn arrival_tells_what_the_clock_should_say() {
        // The device clock has any origin. The aligned time follows a restart, but not the jitter of
        // arrival.
        let frames = [(5, 1), (15, 2), (25, 3), (2, 1), (12, 2)];
        let arrivals = [70_000, 70_019, 70_020, 80_000, 80_011];
        assert_eq!(aligned(&frames, Some(&arrivals)), [70_000, 70_010, 70_020, 80_000, 80_010]);
        // The first frame arrives with a longer delay than the others.
        let frames = [(0, 1), (10, 2), (20, 3), (30, 4)];
        let arrivals = [70_015, 70_016, 70_025, 70_038];
        assert_eq!(aligned(&frames, Some(&arrivals)), [70_015, 70_016, 70_025, 70_035]);
        // The aligned time follows a clock that is slow by 50 parts per million.
        let n_frames = 200_000;
        let frames: Vec<_> = (0..n_frames).map(|nth| (i64::from(nth) * 10, nth)).collect();
        let arrivals: Vec<_> =
            (0..n_frames).map(|nth| (f64::from(nth) * 10.0005).round() as i64).collect();
        let last = *aligned(&frames, Some(&arrivals)).last().expect("some");
        assert!((last - arrivals[arrivals.len() - 1]).abs() <= 2, "{last}");
    }

    #[test]
    fn no_time_is_too_far() {
        let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
        let arrivals = extremes.map(Some).into_iter().chain([None]);
        for (arrived_at_ns, first_ns) in arrivals.flat_map(|at| extremes.map(|first| (at, first))) {
            let mut clock = AlignedClock::new(first_ns, arrived_at_ns);
            for device_ns in extremes.into_iter().chain(extremes.into_iter().rev()) {
                for n_counts in [0, 1, u32::MAX] {
                    let before_ns = clock.now_ns();
                    assert!(clock.step(device_ns, n_counts, arrived_at_ns) >= before_ns);
                    assert!(clock.interval_ns.is_finite());
                }
            }
        }
    }
}
