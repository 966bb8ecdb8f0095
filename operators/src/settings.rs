//! Settings that cannot work, and what would. A text begins with the name of the setting.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::{ActivityConfig, InferConfig, MotionConfig, TrackConfig};

/// The shortest time between two results: a tick is no shorter.
const MIN_S: f64 = 1e-3;
const DAY_S: f64 = 86_400.0;
/// What nanoseconds since the Unix epoch hold in 64 bits, and some more.
const MAX_S: f64 = 1e9;
/// Frames that a link may keep: minutes, at any rate that radios have.
const MAX_WINDOW_FRAMES: usize = 100_000;

/// Complains about a number that is not in its range, or is none.
fn outside(
    setting: &str,
    value: impl Copy + Display + Into<f64>,
    range: &RangeInclusive<f64>,
) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    let complaint = || format!("{setting} must be from {least} to {most}, not {value}");
    (!range.contains(&value.into())).then(complaint)
}

impl MotionConfig {
    pub(crate) fn problem(&self) -> Option<String> {
        if self.window_frames.get() > MAX_WINDOW_FRAMES {
            let found = self.window_frames;
            return Some(format!("window_frames must be at most {MAX_WINDOW_FRAMES}, not {found}"));
        }
        let threshold =
            self.threshold.filter(|threshold| !(0.0..f32::INFINITY).contains(threshold));
        threshold
            .map(|threshold| format!("threshold must be 0 or a number above, not {threshold}"))
            .or_else(|| outside("calibration_s", self.calibration_s, &(0.0..=DAY_S)))
            .or_else(|| outside("report_every_s", self.report_every_s, &(0.0..=DAY_S)))
    }
}

impl InferConfig {
    pub(crate) fn problem(&self) -> Option<String> {
        outside("every_s", self.every_s, &(MIN_S..=DAY_S))
    }
}

impl TrackConfig {
    pub(crate) fn problem(&self) -> Option<String> {
        // Centimetres are below what is measured, kilometres beyond a site.
        outside("max_distance_m", self.max_distance_m, &(0.01..=1000.0))
            .or_else(|| outside("max_age_s", self.max_age_s, &(0.0..=DAY_S)))
    }
}

impl ActivityConfig {
    pub(crate) fn problem(&self) -> Option<String> {
        outside("window_s", self.window_s, &(0.1..=MAX_S))
            .or_else(|| outside("standing_height", self.standing_height, &(0.01..=1.0)))
            .or_else(|| outside("walking_m_s", self.walking_m_s, &(0.0..=100.0)))
            .or_else(|| outside("falling_s", self.falling_s, &(0.0..=DAY_S)))
    }
}
