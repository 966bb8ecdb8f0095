//! Tracking: assigns people an identity that persists from frame to frame.
//!
//! A constant-velocity Kalman filter for each track predicts the position of its person. The assignment of
//! tracks to people with the least total distance identifies the people. A track is shown after a few frames
//! with its person, and for a while after the last one.
//!
//! Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960; A. Bewley
//! et al., "Simple online and realtime tracking", ICIP 2016.

mod assignment;
mod kalman;

use schemars::JsonSchema;
use schemas::{
    BoundingBox, Person, PoseFrame, RecordKind, SitePosition, Tick, TimeSpan, stable_hash,
};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::keyed::{DAY_MS, StateLimits};
use crate::settings::{DAY, Outputs, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::track::assignment::assign;
use crate::track::kalman::Kalman;
use crate::{Component, Context, StateKey};

const NS_PER_S: f64 = 1e9;
/// Weight of the newest keypoints in the shown ones.
const KEYPOINT_GAIN: f32 = 0.5;
/// Share of the confidence that is left after each frame without the person.
const CONFIDENCE_LEFT: f32 = 0.9;
/// Lengths are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f32 = 1e3;
/// The most tracks of a source, and people in a frame; further ones are not tracked.
const MAX_TRACKS: usize = 256;

/// Settings of the `track` operator.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackConfig {
    /// Largest distance of a person from the position that the track predicts, in metres; 1.2 by default.
    #[serde(default = "default_max_distance_m")]
    pub max_distance_m: f32,
    /// Number of frames with a person before the person is shown; 3 by default.
    #[serde(default = "default_confirm_frames")]
    pub confirm_frames: u32,
    /// How long a person is shown after the last frame with the person; "1s" by default.
    #[serde(default = "default_max_age")]
    pub max_age: TimeSpan,
}

impl Settings for TrackConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        // Centimetres are below the accuracy of positions, kilometres beyond a site.
        let max_distance = outside("max_distance_m", self.max_distance_m, &(0.01..=1000.0));
        let max_age = outside("max_age", self.max_age, &(TimeSpan::ZERO..=DAY));
        max_distance.into_iter().chain(max_age).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some("track 2".to_owned())
    }
}

fn default_max_distance_m() -> f32 {
    1.2
}

fn default_confirm_frames() -> u32 {
    3
}

fn default_max_age() -> TimeSpan {
    TimeSpan::from_s(1)
}

/// Tracking on streams of poses.
pub trait Track<'scope> {
    /// Replaces the people of each frame by tracks with an id of their own.
    ///
    /// Ids count from 1 within a site and source. People without a position are not tracked, and count as
    /// dropped. State: the tracks of each site and source, on the worker they hash to. Ids start again at 1
    /// after a day without frames.
    ///
    /// ```
    /// use operators::{Context, Track, TrackConfig};
    /// use schemas::{Person, PoseFrame, SitePosition};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// // Three frames of a walking person.
    /// let frames: Vec<_> = [0.0, 0.1, 0.2].into_iter().zip(0..).map(|(x_m, nth)| {
    ///     let position = Some(SitePosition { x_m, y_m: 0.0 });
    ///     let persons = vec![Person { position, ..Person::default() }];
    ///     PoseFrame { captured_at_ns: nth * 100_000_000, persons, ..PoseFrame::default() }
    /// }).collect();
    /// let config: TrackConfig = serde_json::from_str(r#"{ "confirm_frames": 2 }"#)?;
    /// let (to, ids) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = frames.to_stream(scope).container::<Vec<_>>();
    ///     let tracked = frames.track(config, Context::detached("track"));
    ///     tracked.inspect(move |frame| {
    ///         to.send(frame.persons.iter().map(|person| person.id.clone()).collect()).unwrap();
    ///     });
    /// });
    /// let ids: Vec<Vec<String>> = ids.iter().collect();
    /// assert_eq!(ids, [vec![], vec!["p1"], vec!["p1"]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn track(self, config: TrackConfig, context: Context<'scope>) -> Self;
}

impl<'scope> Track<'scope> for StreamVec<'scope, Tick, PoseFrame> {
    fn track(self, config: TrackConfig, context: Context<'scope>) -> Self {
        let component = context.component.clone();
        stateful(self, &context, Tracks { config, component })
    }
}

struct Tracks {
    config: TrackConfig,
    component: Component,
}

impl Stateful for Tracks {
    type Input = PoseFrame;
    type Output = PoseFrame;
    type Key = FrameSource;
    type State = Tracker;

    /// Ids continue over a night, so that they do not identify other people in the morning. A tracker is
    /// larger than the state of a link, and there are fewer trackers.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(DAY_MS), max_keys_per_group: 32 };

    fn route(frame: &PoseFrame) -> u64 {
        stable_hash(&[&frame.site, &frame.source])
    }

    fn on_tick(&mut self, _tick: Tick, frames: Vec<PoseFrame>, work: &mut Work<'_, Self>) {
        for mut frame in frames {
            let tracker = work.state.change(&FrameSource::of(&frame), Tracker::default);
            let persons = std::mem::take(&mut frame.persons);
            let n_persons = persons.len();
            let mut placed: Vec<_> =
                persons.into_iter().filter(|person| person.position.is_some()).collect();
            let n_placed = placed.len();
            if n_placed < n_persons {
                (self.component.dropped)("no position", (n_persons - n_placed) as u64);
            }
            if n_placed > MAX_TRACKS {
                placed.truncate(MAX_TRACKS);
                (self.component.dropped)("too many people", (n_placed - MAX_TRACKS) as u64);
            }
            frame.persons = tracker.update(frame.captured_at_ns, placed, &self.config);
            frame.source = self.component.name.to_string();
            work.outputs.push(frame);
        }
    }
}

/// The site and source of frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct FrameSource {
    site: String,
    source: String,
}

impl FrameSource {
    fn of(frame: &PoseFrame) -> Self {
        Self { site: frame.site.clone(), source: frame.source.clone() }
    }
}

impl StateKey for FrameSource {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site, &self.source])
    }
}

/// The tracks of one site and source.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tracker {
    tracks: Vec<Tracked>,
    n_tracks: u64,
    updated_at_ns: Option<i64>,
}

/// One track.
#[derive(Debug, Serialize, Deserialize)]
struct Tracked {
    kalman: Kalman,
    /// The person as last shown.
    person: Person,
    n_seen: u32,
    seen_at_ns: i64,
}

impl Tracker {
    /// Returns the people to show at `now_ns`, ordered by age.
    fn update(&mut self, now_ns: i64, found: Vec<Person>, config: &TrackConfig) -> Vec<Person> {
        let elapsed_ns = now_ns.saturating_sub(self.updated_at_ns.unwrap_or(now_ns)).max(0);
        self.updated_at_ns = Some(now_ns);
        self.tracks.iter_mut().for_each(|track| track.kalman.predict(elapsed_ns as f64 / NS_PER_S));
        let distance_m = |track: &Tracked, person: &Person| {
            let [x, y] = track.kalman.position_m();
            let at = person.position.unwrap_or_default();
            (at.x_m - x).hypot(at.y_m - y)
        };
        let costs: Vec<Vec<_>> = self
            .tracks
            .iter()
            .map(|track| found.iter().map(|person| distance_m(track, person)).collect())
            .collect();
        let assigned = assign(&costs, found.len(), config.max_distance_m);
        let mut unassigned: Vec<_> = found.into_iter().map(Some).collect();
        for (track, person) in self.tracks.iter_mut().zip(assigned) {
            match person.and_then(|person| unassigned[person].take()) {
                Some(person) => track.see(now_ns, person),
                None => track.person.confidence = round(track.person.confidence * CONFIDENCE_LEFT),
            }
        }
        for person in unassigned.into_iter().flatten() {
            if self.tracks.len() < MAX_TRACKS {
                self.n_tracks += 1;
                self.tracks.push(Tracked::new(self.n_tracks, now_ns, person));
            }
        }
        let max_age_ns = config.max_age.as_ns().unsigned_abs();
        self.tracks.retain(|track| {
            // A track with a time far in the future is as old as one far in the past.
            let unseen_ns = now_ns.abs_diff(track.seen_at_ns);
            let missed = track.seen_at_ns < now_ns || unseen_ns > max_age_ns;
            let confirmed = track.n_seen >= config.confirm_frames;
            // An unconfirmed track is removed at once; a confirmed one stays for a while.
            !missed || (confirmed && unseen_ns <= max_age_ns)
        });
        let shown = self.tracks.iter().filter(|track| track.n_seen >= config.confirm_frames);
        shown.map(|track| track.person.clone()).collect()
    }
}

impl Tracked {
    fn new(number: u64, now_ns: i64, person: Person) -> Self {
        let at = person.position.unwrap_or_default();
        let kalman = Kalman::at([at.x_m, at.y_m]);
        let person = Person { id: format!("p{number}"), ..person };
        Self { kalman, person, n_seen: 1, seen_at_ns: now_ns }
    }

    /// Updates the track with the position of the person, and smooths the keypoints.
    fn see(&mut self, now_ns: i64, seen: Person) {
        let at = seen.position.unwrap_or_default();
        self.kalman.update([at.x_m, at.y_m]);
        let [x_m, y_m] = self.kalman.position_m().map(round);
        let mut keypoints = seen.keypoints;
        for (keypoint, shown) in keypoints.iter_mut().zip(&self.person.keypoints) {
            keypoint.x = round(shown.x + KEYPOINT_GAIN * (keypoint.x - shown.x));
            keypoint.y = round(shown.y + KEYPOINT_GAIN * (keypoint.y - shown.y));
        }
        self.person = Person {
            id: std::mem::take(&mut self.person.id),
            bounding_box: BoundingBox::around(&keypoints),
            keypoints,
            confidence: seen.confidence,
            position: Some(SitePosition { x_m, y_m }),
            zone: None,
            activity: None,
        };
        self.n_seen = self.n_seen.saturating_add(1);
        self.seen_at_ns = now_ns;
    }
}

fn round(value: f32) -> f32 {
    (value * ROUNDING).round() / ROUNDING
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::{any_time_ns, remember};

    const CONFIG: TrackConfig =
        TrackConfig { max_distance_m: 1.0, confirm_frames: 2, max_age: TimeSpan::from_ms(500) };

    /// The ids shown at each moment, ten moments a second, for the positions of people.
    fn ids(moments: &[&[[f32; 2]]]) -> Vec<Vec<String>> {
        let mut tracker = Tracker::default();
        let moments = moments.iter().zip(0_i64..).map(|(places, nth)| {
            let persons = places.iter().map(|[x_m, y_m]| Person {
                position: Some(SitePosition { x_m: *x_m, y_m: *y_m }),
                confidence: 1.0,
                ..Person::default()
            });
            let shown = tracker.update(nth * 100_000_000, persons.collect(), &CONFIG);
            shown.into_iter().map(|person| person.id).collect()
        });
        moments.collect()
    }

    #[test]
    fn ids_follow_people() {
        for (name, moments, expected) in [
            (
                "the order of a frame does not matter",
                vec![
                    &[[0.0, 0.0], [4.0, 0.0]][..],
                    &[[4.0, 0.1], [0.0, 0.1]],
                    &[[0.0, 0.2], [4.0, 0.2]],
                ],
                vec![vec![], vec!["p1", "p2"], vec!["p1", "p2"]],
            ),
            (
                "a glimpse is not shown",
                vec![&[[0.0, 0.0]][..], &[], &[[0.0, 0.0]], &[[0.0, 0.0]]],
                vec![vec![], vec![], vec![], vec!["p2"]],
            ),
            (
                "someone who is missed keeps the id",
                vec![&[[0.0, 0.0]][..], &[[0.0, 0.0]], &[], &[], &[[0.1, 0.0]]],
                vec![vec![], vec!["p1"], vec!["p1"], vec!["p1"], vec!["p1"]],
            ),
            (
                "someone else far away gets another",
                vec![&[[0.0, 0.0]][..], &[[0.0, 0.0]], &[[3.0, 0.0]], &[[3.0, 0.0]]],
                vec![vec![], vec!["p1"], vec!["p1"], vec!["p1", "p2"]],
            ),
        ] {
            assert_eq!(ids(&moments), expected, "{name}");
        }
    }

    fn someone(x_m: f32) -> Person {
        Person { position: Some(SitePosition { x_m, y_m: 0.0 }), ..Person::default() }
    }

    #[test]
    fn made_up_sites_are_forgotten() {
        const N_TICKS: u64 = 24;
        const N_MADE_UP: u64 = 500;
        let frame =
            |site: String| PoseFrame { site, persons: vec![someone(0.0)], ..PoseFrame::default() };
        let of_tick = |nth: u64| {
            let made_up = (0..N_MADE_UP).map(|mth| format!("site {}", nth * N_MADE_UP + mth));
            let frames = made_up.chain(["flat".to_owned()]).map(frame);
            (nth * 100, frames.collect::<Vec<_>>())
        };
        let mut inputs: Vec<_> = (0..N_TICKS).map(of_tick).collect();
        inputs.push((2 * DAY_MS, vec![frame("flat".to_owned())]));
        let found = remember(inputs, |frames, context| frames.track(CONFIG, context));
        let max_keys = Tracks::LIMITS.max_keys_per_group * N_KEY_GROUPS;
        assert!(found.most_keys <= max_keys, "{} trackers are saved", found.most_keys);
        assert!(found.dropped["too many keys"] > 5000, "{:?}", found.dropped);
        assert_eq!(found.dropped.values().sum::<u64>(), N_TICKS * N_MADE_UP + 1);
        assert_eq!(found.n_keys, 1);
    }

    #[test]
    fn a_crowd_is_cut() {
        let persons = vec![someone(0.0); MAX_TRACKS + 7];
        let frame = PoseFrame { persons, ..PoseFrame::default() };
        let found = remember([(0, vec![frame])], |frames, context| frames.track(CONFIG, context));
        assert_eq!(found.dropped["too many people"], 7);
    }

    proptest! {
        #[test]
        fn any_time_will_do(times_ns in prop::collection::vec(any_time_ns(), 1..20)) {
            let mut tracker = Tracker::default();
            for time_ns in times_ns {
                let shown = tracker.update(time_ns, vec![someone(1.0), someone(5.0)], &CONFIG);
                prop_assert!(shown.len() <= MAX_TRACKS);
            }
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_leaves_no_ghost() {
        let mut tracker = Tracker::default();
        for time_ns in [0, 1, 2, i64::MAX] {
            tracker.update(time_ns, vec![someone(0.0)], &CONFIG);
        }
        assert!(tracker.update(3, Vec::new(), &CONFIG).is_empty());
    }

    #[test]
    fn who_is_gone_is_not_shown() {
        let moments: Vec<&[[f32; 2]]> =
            [&[[0.0, 0.0]][..]; 2].into_iter().chain([&[][..]; 8]).collect();
        let shown = ids(&moments);
        assert_eq!(shown.iter().filter(|ids| !ids.is_empty()).count(), 6);
        assert!(shown[9].is_empty());
    }
}
