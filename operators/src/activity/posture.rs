//! The posture of a person in each frame.

use std::collections::VecDeque;

use schemas::{Activity, Person};
use serde::{Deserialize, Serialize};

use crate::ActivityConfig;

/// Time over which heights are smoothed.
const SMOOTH_NS: i64 = 500_000_000;
/// Time over which speed is measured.
const SPEED_NS: i64 = 1_000_000_000;
/// Shares of the standing height above which a person is upright, and below which lying.
const UPRIGHT: f32 = 0.82;
const LYING: f32 = 0.42;
/// The most moments of a person; older ones are dropped.
const MAX_MOMENTS: usize = 256;

/// The recent moments of one person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Posture {
    moments: VecDeque<Moment>,
    upright_at_ns: Option<i64>,
    /// True if the person fell, while lying.
    fell: bool,
    lying: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Moment {
    at_ns: i64,
    /// Share of the standing height.
    height: f32,
    place_m: Option<[f32; 2]>,
}

impl Posture {
    /// Adds a frame of the person, in capture order. Returns the activity.
    pub(super) fn observe(
        &mut self,
        at_ns: i64,
        person: &Person,
        config: &ActivityConfig,
    ) -> Activity {
        let height = person.bounding_box.height / config.standing_height;
        let place_m = person.position.map(|at| [at.x_m, at.y_m]);
        self.moments.push_back(Moment { at_ns, height, place_m });
        let too_old = |moment: &Moment| moment.at_ns < at_ns.saturating_sub(SPEED_NS);
        while self.moments.len() > MAX_MOMENTS || self.moments.front().is_some_and(too_old) {
            self.moments.pop_front();
        }
        let height = self.smooth_height(at_ns);
        if height >= UPRIGHT {
            self.upright_at_ns = Some(at_ns);
        }
        let was_lying = std::mem::replace(&mut self.lying, height < LYING);
        if self.lying && !was_lying {
            let longest_ns = config.max_fall.as_ns().unsigned_abs();
            self.fell = self.upright_at_ns.is_some_and(|ns| at_ns.abs_diff(ns) <= longest_ns);
        }
        match (self.lying, self.fell, height >= UPRIGHT) {
            (true, true, _) => Activity::Fall,
            (true, false, _) => Activity::Lying,
            (false, _, false) => Activity::Sitting,
            (false, _, true) if self.speed_m_s() > config.walking_m_s => Activity::Walking,
            (false, _, true) => Activity::Standing,
        }
    }

    /// Returns the median height of the last half second.
    fn smooth_height(&self, at_ns: i64) -> f32 {
        let since_ns = at_ns.saturating_sub(SMOOTH_NS);
        let recent = self.moments.iter().filter(|moment| moment.at_ns >= since_ns);
        let mut heights: Vec<_> = recent.map(|moment| moment.height).collect();
        heights.sort_by(f32::total_cmp);
        heights.get(heights.len() / 2).copied().unwrap_or_default()
    }

    /// Returns the distance from the first to the last place of the last second, over its time. Below 0.3 s
    /// it is 0.
    fn speed_m_s(&self) -> f32 {
        let placed =
            || self.moments.iter().filter_map(|moment| Some((moment.at_ns, moment.place_m?)));
        let (Some((from_ns, from)), Some((to_ns, to))) = (placed().next(), placed().next_back())
        else {
            return 0.0;
        };
        let elapsed_s = to_ns.saturating_sub(from_ns) as f32 * 1e-9;
        if elapsed_s < 0.3 {
            return 0.0;
        }
        (to[0] - from[0]).hypot(to[1] - from[1]) / elapsed_s
    }
}
