//! Scripts of simulated people: steps as a timeline of places and postures.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::simulate::body::{BodyState, Posture};

/// Seconds to sit down or get up.
const SITTING_DOWN_S: f32 = 1.5;
/// Seconds to lie down slowly.
const LYING_DOWN_S: f32 = 2.5;
/// Seconds to fall.
const FALLING_S: f32 = 0.6;
/// Seconds of one gait cycle at 1 m/s.
const GAIT_CYCLE_S: f32 = 1.1;

/// A person and their script, which starts again at its end.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    /// Place on the plan at the start.
    pub(super) starts_at_m: [f32; 2],
    /// From head to floor.
    #[serde(default = "default_height_m")]
    pub(super) height_m: f32,
    /// Speed of walking.
    #[serde(default = "default_speed_m_s")]
    pub(super) speed_m_s: f32,
    /// Rate of breathing, from 0 to 600.
    #[serde(default = "default_breaths_per_minute")]
    pub(super) breaths_per_minute: f32,
    /// Steps one after another; they repeat, with the way back to the start in between.
    pub(super) script: Vec<Step>,
}

fn default_height_m() -> f32 {
    1.75
}

fn default_speed_m_s() -> f32 {
    1.0
}

pub(super) fn default_breaths_per_minute() -> f32 {
    15.0
}

/// One action. Its time does not include the change of posture before it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// Walk straight to a place on the plan.
    WalkTo([f32; 2]),
    /// Stand for this many seconds.
    StandS(f32),
    /// Sit for this many seconds.
    SitS(f32),
    /// Lie down slowly and lie for this many seconds.
    LieS(f32),
    /// Fall and lie for this many seconds.
    FallS(f32),
}

impl Person {
    /// True if every number is valid and one round of the script takes time.
    pub(super) fn valid(&self) -> bool {
        let steps = self.script.iter().all(|step| match *step {
            Step::WalkTo(place_m) => place_m.iter().all(|at_m| at_m.is_finite()),
            Step::StandS(stays_s)
            | Step::SitS(stays_s)
            | Step::LieS(stays_s)
            | Step::FallS(stays_s) => stays_s.is_finite() && stays_s >= 0.0,
        });
        let sizes = self.height_m > 0.0 && self.speed_m_s > 0.0;
        let sizes = sizes && self.height_m.is_finite() && self.speed_m_s.is_finite();
        let sizes = sizes && (0.0..=600.0).contains(&self.breaths_per_minute);
        steps && sizes && self.starts_at_m.iter().all(|at_m| at_m.is_finite()) && {
            Timeline::new(self).length_s > 0.1
        }
    }
}

/// A period in which the posture and the place change from one value to another.
#[derive(Clone, Copy, Debug)]
struct Segment {
    starts_s: f32,
    length_s: f32,
    from_m: [f32; 2],
    to_m: [f32; 2],
    heading_rad: f32,
    from: Posture,
    to: Posture,
    /// Seconds that the change of posture takes, from the start of the segment.
    change_s: f32,
}

/// A script, laid out in time.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    segments: Vec<Segment>,
    length_s: f32,
    speed_m_s: f32,
    height_m: f32,
    breaths_hz: f64,
}

impl Timeline {
    pub(super) fn new(person: &Person) -> Self {
        let mut timeline = Self {
            segments: Vec::new(),
            length_s: 0.0,
            speed_m_s: person.speed_m_s,
            height_m: person.height_m,
            breaths_hz: f64::from(person.breaths_per_minute) / 60.0,
        };
        let (mut place_m, mut posture, mut heading_rad) =
            (person.starts_at_m, Posture::Standing, 0.0_f32);
        // The way back to the start closes the round.
        let back = [Step::WalkTo(person.starts_at_m)];
        for step in person.script.iter().chain(&back) {
            let (to_m, to, change_s, stays_s) = match *step {
                Step::WalkTo(to_m) => {
                    let (dx_m, dy_m) = (to_m[0] - place_m[0], to_m[1] - place_m[1]);
                    let walks_s = dx_m.hypot(dy_m) / person.speed_m_s;
                    if walks_s < 1e-3 {
                        continue;
                    }
                    timeline.get_up(place_m, heading_rad, &mut posture);
                    heading_rad = dy_m.atan2(dx_m);
                    (to_m, Posture::Walking, 0.3, walks_s)
                }
                Step::StandS(stays_s) => {
                    timeline.get_up(place_m, heading_rad, &mut posture);
                    (place_m, Posture::Standing, 0.3, stays_s)
                }
                Step::SitS(stays_s) => (place_m, Posture::Sitting, SITTING_DOWN_S, stays_s),
                Step::LieS(stays_s) => (place_m, Posture::Lying, LYING_DOWN_S, stays_s),
                Step::FallS(stays_s) => (place_m, Posture::Lying, FALLING_S, stays_s),
            };
            let change_s = if to == posture { 0.0 } else { change_s };
            let length_s = if to == Posture::Walking { stays_s } else { change_s + stays_s };
            timeline.push(length_s, [place_m, to_m], heading_rad, [posture, to], change_s);
            (place_m, posture) = (to_m, to);
        }
        timeline
    }

    fn get_up(&mut self, place_m: [f32; 2], heading_rad: f32, posture: &mut Posture) {
        if matches!(posture, Posture::Sitting | Posture::Lying) {
            let change = [*posture, Posture::Standing];
            self.push(SITTING_DOWN_S, [place_m; 2], heading_rad, change, SITTING_DOWN_S);
            *posture = Posture::Standing;
        }
    }

    fn push(
        &mut self,
        length_s: f32,
        [from_m, to_m]: [[f32; 2]; 2],
        heading_rad: f32,
        [from, to]: [Posture; 2],
        change_s: f32,
    ) {
        let starts_s = self.length_s;
        let segment = Segment { starts_s, length_s, from_m, to_m, heading_rad, from, to, change_s };
        self.segments.push(segment);
        self.length_s += length_s;
    }

    /// Returns the body at a time since the start, in seconds.
    pub(super) fn at(&self, time_s: f64) -> BodyState {
        let in_round_s = (time_s % f64::from(self.length_s)) as f32;
        let next = self.segments.partition_point(|segment| segment.starts_s <= in_round_s);
        let segment = &self.segments[next.saturating_sub(1)];
        let elapsed_s = in_round_s - segment.starts_s;
        let share = |of_s: f32| if of_s > 0.0 { (elapsed_s / of_s).clamp(0.0, 1.0) } else { 1.0 };
        let along = share(segment.length_s);
        let place = |axis: usize| {
            segment.from_m[axis] + along * (segment.to_m[axis] - segment.from_m[axis])
        };
        BodyState {
            place_m: [place(0), place(1)],
            heading_rad: segment.heading_rad,
            height_m: self.height_m,
            from: segment.from,
            to: segment.to,
            changed: share(segment.change_s),
            gait_cycles: elapsed_s * self.speed_m_s / GAIT_CYCLE_S,
            breaths: (time_s * self.breaths_hz).fract() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(script: Vec<Step>) -> Person {
        let (height_m, speed_m_s, breaths_per_minute) = (1.8, 1.0, 15.0);
        Person { starts_at_m: [1.0, 1.0], height_m, speed_m_s, breaths_per_minute, script }
    }

    #[test]
    fn follows_the_script_round_and_round() {
        let script = vec![Step::WalkTo([4.0, 1.0]), Step::SitS(2.0)];
        let timeline = Timeline::new(&person(script));
        // 3 s there, 1.5 + 2 s sitting, 1.5 s up, 3 s back.
        for (time_s, place_m, to) in [
            (0.0, [1.0, 1.0], Posture::Walking),
            (1.5, [2.5, 1.0], Posture::Walking),
            (5.0, [4.0, 1.0], Posture::Sitting),
            (7.0, [4.0, 1.0], Posture::Standing),
            (9.5, [2.5, 1.0], Posture::Walking),
            (12.5, [2.5, 1.0], Posture::Walking),
        ] {
            let state = timeline.at(time_s);
            assert!((state.place_m[0] - place_m[0]).abs() < 1e-3, "{time_s} s: {state:?}");
            assert_eq!(state.to, to, "{time_s} s");
        }
    }

    #[test]
    fn a_script_must_take_time() {
        assert!(person(vec![Step::StandS(1.0)]).valid());
        assert!(!person(vec![]).valid());
        assert!(!person(vec![Step::StandS(f32::NAN)]).valid());
    }
}
