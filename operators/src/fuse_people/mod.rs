//! Sensor fusion: joins the people that several estimators of a site find, such as a camera's and those from CSI.
//!
//! With the first records of every period, the newest frames of all estimators become one frame. Detections of different
//! estimators that are close to each other are one person; a person whom only one of them detects remains.
//!
//! Source: S. Blackman and R. Popoli, "Design and analysis of modern tracking systems", 1999 (fusion of
//! measurements before tracking).

mod group;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemas::{
    Estimator, EstimatorKind, Person, PoseFrame, RecordKind, RecordType, Tick, TimeSpan,
    stable_hash,
};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;

use crate::fuse_people::group::group;
use crate::keyed::{HOUR_MS, SiteName, StateLimits};
use crate::settings::{DAY, Outputs, SHORTEST, Settings, outside};
use crate::stateful::{Ordered, Stateful, Work, stateful};
use crate::{Component, Context};

const NS_PER_MS: i64 = 1_000_000;
/// Positions further from the origin are not of a site.
const FARTHEST_M: f32 = 1e6;
/// The most estimators of a site, and people in a frame; further ones are dropped.
const MAX_ESTIMATORS: usize = 64;
const MAX_PEOPLE: usize = 256;

/// Settings of the `fuse_people` operator.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FusePeopleConfig {
    /// Event time between frames, from "1ms" to "1day"; "100ms" by default.
    pub every: TimeSpan,
    /// Largest distance between two detections of one person, in metres; 1.0 by default.
    pub max_distance_m: f32,
    /// Age from which the newest frame of an estimator does not count; "500ms" by default.
    pub max_age: TimeSpan,
}

impl Default for FusePeopleConfig {
    fn default() -> Self {
        Self { every: TimeSpan::from_ms(100), max_distance_m: 1.0, max_age: TimeSpan::from_ms(500) }
    }
}

impl Settings for FusePeopleConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        let every = outside("every", self.every, &(SHORTEST..=DAY));
        let max_distance = outside("max_distance_m", self.max_distance_m, &(0.01..=1000.0));
        let max_age = outside("max_age", self.max_age, &(SHORTEST..=DAY));
        [every, max_distance, max_age].into_iter().flatten().collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some("fuse_people 1".to_owned())
    }
}

/// Fusion of streams of poses.
pub trait FusePeople<'scope>: Sized {
    /// Joins the people of this stream and of `others` to one frame for each site and period.
    ///
    /// The position of a person is the mean of the detected ones, weighted by their confidence. A person is there
    /// if any of the detections is right, so the confidence is that of independent detections. Keypoints and boxes
    /// are in the view of one estimator; those of this stream are kept, and people whom only `others` detect have
    /// none. People without a position count as dropped. State: the newest frame of each estimator, on the worker
    /// that the site hashes to; a site expires after an hour without frames.
    ///
    /// ```
    /// use operators::{Context, FusePeople, FusePeopleConfig};
    /// use schemas::{Person, PoseFrame, SitePosition};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let frame = |source: &str, x_m| {
    ///     let position = Some(SitePosition { x_m, y_m: 0.0 });
    ///     let persons = vec![Person { position, confidence: 0.5, ..Person::default() }];
    ///     PoseFrame { source: source.to_owned(), persons, ..PoseFrame::default() }
    /// };
    /// let frames = [frame("camera", 1.0), frame("wifi", 1.5)];
    /// let (to, people) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let [camera, wifi] = frames.map(|it| vec![it].to_stream(scope).container::<Vec<_>>());
    ///     let config = FusePeopleConfig::default();
    ///     let fused = camera.fuse_people(vec![wifi], config, Context::detached("fused"));
    ///     fused.inspect(move |frame| to.send(frame.persons.clone()).unwrap());
    /// });
    /// let people = people.recv()?;
    /// assert_eq!(people.len(), 1);
    /// assert_eq!(people[0].position, Some(SitePosition { x_m: 1.25, y_m: 0.0 }));
    /// assert_eq!(people[0].confidence, 0.75);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn fuse_people(
        self,
        others: Vec<Self>,
        config: FusePeopleConfig,
        context: Context<'scope>,
    ) -> Self;
}

impl<'scope> FusePeople<'scope> for StreamVec<'scope, Tick, PoseFrame> {
    fn fuse_people(
        self,
        others: Vec<Self>,
        config: FusePeopleConfig,
        context: Context<'scope>,
    ) -> Self {
        let scope = self.scope();
        let others = others.into_iter().map(|stream| stream.map(Input::Other));
        let inputs = scope.concatenate(std::iter::once(self.map(Input::First)).chain(others));
        let component = context.component.clone();
        stateful(inputs, &context, Fuses { config, component })
    }
}

/// A frame, of the first stream or of another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Input {
    First(PoseFrame),
    Other(PoseFrame),
}

impl Input {
    fn frame(&self) -> &PoseFrame {
        let (Self::First(frame) | Self::Other(frame)) = self;
        frame
    }

    /// The first stream before the others, then by name.
    fn estimator(&self) -> EstimatorKey {
        (matches!(self, Self::Other(_)), self.frame().source.clone())
    }
}

/// Orders estimators: false for the first stream; the source of the frames.
type EstimatorKey = (bool, String);

impl Ordered for Input {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let by_frame = self.frame().total_cmp(other.frame());
        by_frame.then_with(|| self.estimator().cmp(&other.estimator()))
    }
}

struct Fuses {
    config: FusePeopleConfig,
    component: Component,
}

/// The state of a site.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Site {
    newest: BTreeMap<EstimatorKey, Newest>,
    /// The tick from which the next frame is due.
    due: Tick,
    n_frames: u64,
}

/// The newest frame of an estimator, and its tick.
#[derive(Debug, Serialize, Deserialize)]
struct Newest {
    tick: Tick,
    frame: PoseFrame,
}

impl Stateful for Fuses {
    type Input = Input;
    type Output = PoseFrame;
    type Key = SiteName;
    type State = Site;

    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(HOUR_MS), max_keys_per_group: 32 };

    fn route(input: &Input) -> u64 {
        stable_hash(&[&input.frame().site])
    }

    fn on_tick(&mut self, tick: Tick, mut inputs: Vec<Input>, work: &mut Work<'_, Self>) {
        // Stable, so that the frames of a site stay in order.
        inputs.sort_by(|a, b| a.frame().site.cmp(&b.frame().site));
        for of_site in inputs.chunk_by(|a, b| a.frame().site == b.frame().site) {
            let name = SiteName(of_site[0].frame().site.clone());
            let site = work.state.change(&name, Site::default);
            site.forget(tick, self.config.max_age);
            for input in of_site {
                self.keep(tick, input, site);
            }
            work.outputs.extend(self.fuse(tick, site, name.0));
        }
    }
}

impl Site {
    /// Forgets frames that are too old.
    fn forget(&mut self, now: Tick, max_age: TimeSpan) {
        self.newest.retain(|_, newest| now.saturating_sub(newest.tick) < max_age.as_ms());
    }
}

impl Fuses {
    /// Keeps a frame as the newest one of its estimator, with the people who have a position.
    fn keep(&self, tick: Tick, input: &Input, site: &mut Site) {
        let (estimator, mut frame) = (input.estimator(), input.frame().clone());
        // A late record has the current tick.
        let captured_at_ms = u64::try_from(frame.captured_at_ns / NS_PER_MS).unwrap_or(0);
        if tick.saturating_sub(captured_at_ms) >= self.config.max_age.as_ms() {
            return self.count("older than `max_age`", 1);
        }
        match site.newest.get(&estimator) {
            None if site.newest.len() >= MAX_ESTIMATORS => {
                return self.count("too many estimators", 1);
            }
            Some(newest) if newest.frame.captured_at_ns > frame.captured_at_ns => {
                return self.count("older than the frame before", 1);
            }
            _ => {}
        }
        let n_persons = frame.persons.len();
        frame.persons.retain(has_position);
        self.count("no position", n_persons - frame.persons.len());
        self.count("too many people", frame.persons.len().saturating_sub(MAX_PEOPLE));
        frame.persons.truncate(MAX_PEOPLE);
        site.newest.insert(estimator, Newest { tick, frame });
    }

    /// Returns the newest frames as one, if that is due.
    fn fuse(&self, tick: Tick, site: &mut Site, name: String) -> Option<PoseFrame> {
        if tick < site.due {
            return None;
        }
        let every_ms = self.config.every.as_ms().max(1);
        site.due = (tick / every_ms).saturating_add(1).saturating_mul(every_ms);
        let frames = || site.newest.values().map(|newest| &newest.frame);
        let captured_at_ns = frames().map(|frame| frame.captured_at_ns).max()?;
        let (persons, n_left_out) = group(&site.newest, self.config.max_distance_m);
        self.count("too many people", n_left_out);
        let frame = PoseFrame {
            site: name,
            source: self.component.name.to_string(),
            captured_at_ns,
            frame_id: site.n_frames,
            persons,
            processing_time_ms: None,
            source_kind: frames().map(|frame| frame.source_kind).max().unwrap_or_default(),
            estimator: joined(frames().map(|frame| &frame.estimator)),
        };
        site.n_frames = site.n_frames.saturating_add(1);
        Some(frame)
    }

    fn count(&self, reason: &'static str, n_dropped: usize) {
        if n_dropped > 0 {
            (self.component.dropped)(reason, n_dropped as u64);
        }
    }
}

fn has_position(person: &Person) -> bool {
    let is_near = |side: f32| side.abs() <= FARTHEST_M;
    person.position.is_some_and(|at| is_near(at.x_m) && is_near(at.y_m))
}

/// Joins the names and hashes of estimators.
fn joined<'a>(estimators: impl Iterator<Item = &'a Estimator>) -> Estimator {
    let mut estimators: Vec<_> = estimators.collect();
    estimators.sort_by_key(|it| (&it.name, &it.hash));
    estimators.dedup();
    let names: Vec<_> = estimators.iter().map(|it| it.name.as_str()).collect();
    let hashes: Vec<_> = estimators.iter().filter_map(|it| it.hash.as_deref()).collect();
    let is_model = estimators.iter().any(|it| it.kind == EstimatorKind::Model);
    Estimator {
        kind: if is_model { EstimatorKind::Model } else { EstimatorKind::Heuristic },
        name: names.join(" + "),
        hash: (!hashes.is_empty()).then(|| hashes.join(" + ")),
    }
}

#[cfg(test)]
mod tests;
