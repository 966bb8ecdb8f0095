//! Tracking: assigns people an identity that persists from frame to frame.
//!
//! A constant-velocity Kalman filter for each track predicts the position of its person. The assignment of
//! tracks to people with the least total distance, in position and pose, identifies the people. A track is
//! shown once its person has been there for a time, and for a while after the last frame with the person.
//! If two people are detected as one person, both tracks follow that person. A person who returns near the end
//! of a track gets its id again.
//!
//! Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960; A. Bewley
//! et al., "Simple online and realtime tracking", ICIP 2016.

mod floor;
mod image;
mod people;

use schemars::JsonSchema;
use schemas::{Person, PoseFrame, RecordKind, Tick, TimeSpan, stable_hash};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::keyed::{DAY_MS, StateLimits};
use crate::settings::{DAY, Outputs, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::track::people::PeopleTracker;
use crate::{Component, Context, StateKey};

pub use crate::track::image::{
    BoxDetection, ImageTrackOptions, ImageTracker, TrackedBox, intersection_over_union,
};

/// The most tracks of a source, and people in a frame; further ones are not tracked.
const MAX_TRACKS: usize = 256;

/// The plane in which people are tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// The floor: people have positions on the site plan.
    #[default]
    Floor,
    /// The picture of a camera: people have boxes, and keypoints if there are any.
    Image,
}

/// Settings of the `track` operator.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackConfig {
    /// The plane in which people are tracked: "floor" by positions in metres, "image" by boxes and keypoints in a
    /// camera's picture; "floor" by default.
    #[serde(default)]
    pub plane: Plane,
    /// Largest distance of a person from the position that the track predicts, in metres; 1.2 by default. Only on
    /// the floor.
    pub max_distance_m: Option<f32>,
    /// How long a person must be there before the person is shown; "1s" by default. Only on the floor: in an
    /// image, two frames in a row are needed.
    pub confirm: Option<TimeSpan>,
    /// How long a track lasts after the last frame with the person: on the floor "2s" by default, during which the
    /// person is shown; in an image "1200ms", during which the person is not shown but keeps the id.
    pub max_age: Option<TimeSpan>,
    /// How long after the end of a track a person who comes back nearby has the same id; "10s" by default. Only on
    /// the floor.
    pub reidentify_within: Option<TimeSpan>,
    /// Least confidence of a person before the person is shown; 0.5 by default. Later, any will do.
    #[serde(default = "default_min_confidence")]
    pub min_confidence: f32,
}

impl TrackConfig {
    fn floor(&self) -> FloorTrackOptions {
        FloorTrackOptions {
            max_distance_m: self.max_distance_m.unwrap_or(1.2),
            confirm: self.confirm.unwrap_or(TimeSpan::from_s(1)),
            max_age: self.max_age.unwrap_or(TimeSpan::from_s(2)),
            reidentify_within: self.reidentify_within.unwrap_or(TimeSpan::from_s(10)),
            min_confidence: self.min_confidence,
        }
    }

    fn image(&self) -> ImageTrackOptions {
        let defaults = ImageTrackOptions::default();
        ImageTrackOptions {
            confident_score: f64::from(self.min_confidence),
            max_unseen_s: self
                .max_age
                .map_or(defaults.max_unseen_s, |age| age.as_ns() as f64 / 1e9),
            ..defaults
        }
    }

    /// Returns the settings that are there although they do nothing in this plane.
    fn unused(&self) -> Vec<String> {
        let of_floor = [
            ("max_distance_m", self.max_distance_m.is_some()),
            ("confirm", self.confirm.is_some()),
            ("reidentify_within", self.reidentify_within.is_some()),
        ];
        let unused =
            of_floor.into_iter().filter(|(_, is_set)| *is_set && self.plane == Plane::Image);
        unused.map(|(name, _)| format!("`{name}` needs `plane = \"floor\"`")).collect()
    }
}

/// Settings of tracking on the floor, as those of [`TrackConfig`].
#[derive(Clone, Copy, Debug)]
struct FloorTrackOptions {
    max_distance_m: f32,
    confirm: TimeSpan,
    max_age: TimeSpan,
    reidentify_within: TimeSpan,
    min_confidence: f32,
}

impl Settings for TrackConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        let floor = self.floor();
        // Centimetres are below the accuracy of positions, kilometres beyond a site.
        let max_distance = outside("max_distance_m", floor.max_distance_m, &(0.01..=1000.0));
        let spans = [
            ("confirm", floor.confirm),
            ("max_age", floor.max_age),
            ("reidentify_within", floor.reidentify_within),
        ];
        let spans = spans.map(|(name, span)| outside(name, span, &(TimeSpan::ZERO..=DAY)));
        let confidence = outside("min_confidence", self.min_confidence, &(0.0..=1.0));
        let spans = spans.into_iter().flatten();
        max_distance.into_iter().chain(spans).chain(confidence).chain(self.unused()).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(match self.plane {
            Plane::Floor => "track 3".to_owned(),
            Plane::Image => "track in images 1".to_owned(),
        })
    }
}

fn default_min_confidence() -> f32 {
    0.5
}

/// Tracking on streams of poses.
pub trait Track<'scope> {
    /// Replaces the people of each frame by tracks with an id of their own.
    ///
    /// Ids count from 1 within a site and source. On the floor, people without a position are not tracked, and
    /// count as dropped; in an image, people without a box. State: the tracks of each site and source, on the worker they hash to. Ids start again at 1
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
    ///     let persons = vec![Person { position, confidence: 0.9, ..Person::default() }];
    ///     PoseFrame { captured_at_ns: nth * 100_000_000, persons, ..PoseFrame::default() }
    /// }).collect();
    /// let config: TrackConfig = serde_json::from_str(r#"{ "confirm": "100ms" }"#)?;
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
    type State = PeopleTracker;

    /// Ids continue over a night, so that they do not identify other people in the morning. A tracker is
    /// larger than the state of a link, and there are fewer trackers.
    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(DAY_MS), max_keys_per_group: 32 };

    fn route(frame: &PoseFrame) -> u64 {
        stable_hash(&[&frame.site, &frame.source])
    }

    fn on_tick(&mut self, _tick: Tick, frames: Vec<PoseFrame>, work: &mut Work<'_, Self>) {
        for mut frame in frames {
            let tracker = || PeopleTracker::new(self.config.plane);
            let tracker = work.state.change(&FrameSource::of(&frame), tracker);
            let persons = self.trackable(std::mem::take(&mut frame.persons));
            frame.persons = tracker.update(frame.captured_at_ns, persons, &self.config);
            // In images, ids count for each camera.
            if self.config.plane == Plane::Floor {
                frame.source = self.component.name.to_string();
            }
            work.outputs.push(frame);
        }
    }
}

impl Tracks {
    /// Returns the people who can be tracked; counts the others as dropped.
    fn trackable(&self, mut persons: Vec<Person>) -> Vec<Person> {
        let dropped = |reason, n: usize| {
            if n > 0 {
                (self.component.dropped)(reason, n as u64);
            }
        };
        let n_persons = persons.len();
        match self.config.plane {
            Plane::Floor => persons.retain(|person| person.position.is_some()),
            Plane::Image => persons.retain(people::has_box),
        }
        let reason =
            if self.config.plane == Plane::Floor { "no position" } else { "no bounding box" };
        dropped(reason, n_persons - persons.len());
        dropped("too many people", persons.len().saturating_sub(MAX_TRACKS));
        persons.truncate(MAX_TRACKS);
        persons
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

#[cfg(test)]
mod tests {
    use schemas::SitePosition;

    use super::*;
    use crate::keyed::N_KEY_GROUPS;
    use crate::testing::remember;

    fn config() -> TrackConfig {
        serde_json::from_str("{}").expect("all settings have defaults")
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
        let found = remember(inputs, |frames, context| frames.track(config(), context));
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
        let found = remember([(0, vec![frame])], |frames, context| frames.track(config(), context));
        assert_eq!(found.dropped["too many people"], 7);
    }
}
