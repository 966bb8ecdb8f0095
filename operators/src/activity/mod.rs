//! Activities of each person, in windows of event time.
//!
//! A person's height in the view distinguishes upright, seated and lying people. Their movement on the plan
//! distinguishes walking from standing. A fall is a fast change from upright to lying.

mod posture;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemas::{
    Activity, ActivityWindow, Event, EventId, EventType, Person, PoseFrame, Record, RecordKind,
    SourceKind, Tick, TimeSpan, stable_hash,
};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::activity::posture::Posture;
use crate::keyed::StateLimits;
use crate::settings::{DAY, Outputs, Settings, below, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Component, Context, StateKey};

const NS_PER_MS: i64 = 1_000_000;
const SHORTEST_WINDOW: TimeSpan = TimeSpan::from_ms(100);

/// Settings of the `activity` operator. Its main output is the windows. `people` contains the frames, with
/// the activity of each person in the last window. `events` contains changes of activity and falls.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityConfig {
    /// Length of a window in event time, at least "100ms"; "2s" by default.
    #[serde(default = "default_window")]
    pub window: TimeSpan,
    /// Height of a standing person as a share of the view; 0.64 by default, which is 1.65 m from head to
    /// ankle in a room of 2.6 m.
    #[serde(default = "default_standing_height")]
    pub standing_height: f32,
    /// Speed above which an upright person counts as walking, in metres a second; 0.35 by default.
    #[serde(default = "default_walking_m_s")]
    pub walking_m_s: f32,
    /// Longest duration of a fall, from upright to lying; "1.5s" by default.
    #[serde(default = "default_max_fall")]
    pub max_fall: TimeSpan,
}

impl Settings for ActivityConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Activity), ("people", RecordKind::Pose), ("events", RecordKind::Event)]
    }

    fn problems(&self) -> Vec<String> {
        let problems = [
            below("window", self.window, SHORTEST_WINDOW),
            outside("standing_height", self.standing_height, &(0.01..=1.0)),
            outside("walking_m_s", self.walking_m_s, &(0.0..=100.0)),
            outside("max_fall", self.max_fall, &(TimeSpan::ZERO..=DAY)),
        ];
        problems.into_iter().flatten().collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("activity 3, {} s", self.window.as_s()))
    }
}

fn default_window() -> TimeSpan {
    TimeSpan::from_s(2)
}

fn default_standing_height() -> f32 {
    0.64
}

fn default_walking_m_s() -> f32 {
    0.35
}

fn default_max_fall() -> TimeSpan {
    TimeSpan::from_ms(1500)
}

impl ActivityConfig {
    fn window_ms(&self) -> u64 {
        self.window.max(SHORTEST_WINDOW).as_ms()
    }

    /// Returns the end of the window that contains `tick`.
    fn window_end(&self, tick: Tick) -> Tick {
        (tick / self.window_ms() * self.window_ms()).saturating_add(self.window_ms())
    }
}

/// Activities on streams of poses.
pub trait Activities<'scope> {
    /// Sends the activity of each person for each window, at the end of the window.
    ///
    /// Windows are aligned to the Unix epoch; a frame belongs to the window of its tick. State: a few seconds
    /// of each person, on the worker that the site hashes to. If the next frame of
    /// the source does not contain the person, the operator drops the person's window, unless the window
    /// contains a fall. It removes the state of a person after two windows without a frame of the person.
    ///
    /// ```
    /// use operators::{Activities, ActivityConfig, Context};
    /// use schemas::{Activity, BoundingBox, Person, PoseFrame, Record, SitePosition};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// // Ten frames of a standing person.
    /// let frames: Vec<_> = (0..10).map(|nth| {
    ///     let position = Some(SitePosition { x_m: 1.0, y_m: 1.0 });
    ///     let bounding_box = BoundingBox { height: 0.9, ..BoundingBox::default() };
    ///     let persons = vec![Person { id: "p1".to_owned(), position, bounding_box, ..Person::default() }];
    ///     PoseFrame { captured_at_ns: nth * 100_000_000, persons, ..PoseFrame::default() }
    /// }).collect();
    /// let config: ActivityConfig = serde_json::from_str(r#"{ "window": "1s" }"#)?;
    /// let (to, windows) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = frames.to_stream(scope).container::<Vec<_>>();
    ///     frames.activities(config, Context::detached("activity")).inspect(move |record| {
    ///         if let Record::Activity(window) = record {
    ///             to.send((window.subject.clone(), window.activity)).unwrap();
    ///         }
    ///     });
    /// });
    /// assert_eq!(windows.iter().collect::<Vec<_>>(), [("p1".to_owned(), Activity::Standing)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn activities(
        self,
        config: ActivityConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Record>;
}

impl<'scope> Activities<'scope> for StreamVec<'scope, Tick, PoseFrame> {
    fn activities(
        self,
        config: ActivityConfig,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Record> {
        let component = context.component.clone();
        stateful(self, &context, TellsActivities { config, component })
    }
}

struct TellsActivities {
    config: ActivityConfig,
    component: Component,
}

impl Stateful for TellsActivities {
    type Input = PoseFrame;
    type Output = Record;
    type Key = PersonKey;
    type State = PersonState;

    /// Persons expire with their windows. All people of a site are in one key group.
    const LIMITS: StateLimits = StateLimits { time_to_live_ms: None, max_keys_per_group: 1024 };

    fn route(frame: &PoseFrame) -> u64 {
        stable_hash(&[&frame.site])
    }

    fn on_tick(&mut self, tick: Tick, frames: Vec<PoseFrame>, work: &mut Work<'_, Self>) {
        for mut frame in frames {
            if !frame.persons.is_empty() {
                work.set_timer(self.config.window_end(tick));
            }
            let mut persons = std::mem::take(&mut frame.persons);
            for person in &mut persons {
                let key = PersonKey::new(&frame, &person.id);
                let state = work.state.change(&key, PersonState::default);
                state.observe(&frame, person, &self.config);
                state.seen_at = tick;
                person.activity = state.last_activity();
            }
            drop_windows_of_gone(&frame, tick, work);
            let source = self.component.name.to_string();
            work.outputs.push(Record::Pose(PoseFrame { persons, source, ..frame }));
        }
    }

    /// Closes the open windows, and removes persons without a frame for two windows.
    fn on_timer(&mut self, end: Tick, work: &mut Work<'_, Self>) {
        let two_windows_ms = self.config.window_ms().saturating_mul(2);
        let is_gone = |state: &PersonState| state.last_end.saturating_add(two_windows_ms) <= end;
        let due = work.state.iter().filter(|(_, it)| it.window.is_some() || is_gone(it));
        let mut keys: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        keys.sort();
        for key in keys {
            let state = work.state.change(&key, PersonState::default);
            match state.window.take() {
                Some(window) => state.close(&key, end, window, self, work.outputs),
                None => drop(work.state.remove(&key)),
            }
        }
        self.set_next_timer(end, work);
    }

    fn on_restore(&mut self, tick: Tick, work: &mut Work<'_, Self>) {
        self.set_next_timer(tick, work);
    }
}

impl TellsActivities {
    /// Sets a timer at the next end of a window, while any person has state.
    fn set_next_timer(&self, tick: Tick, work: &mut Work<'_, Self>) {
        if work.state.iter().next().is_some() {
            work.set_timer(self.config.window_end(tick));
        }
    }
}

/// Drops the open windows of the people who are not in the newest frame of their source. Windows with a fall
/// are kept, because falls are reported even of people who are not detected any more.
fn drop_windows_of_gone(frame: &PoseFrame, tick: Tick, work: &mut Work<'_, TellsActivities>) {
    let route = PersonKey::new(frame, "").route();
    let is_gone = |(key, state): &(&PersonKey, &PersonState)| {
        let is_of_source = key.site == frame.site && key.source == frame.source;
        is_of_source && state.seen_at != tick && state.window.as_ref().is_some_and(|it| !it.fell())
    };
    let gone = work.state.iter_group(route).filter(is_gone).map(|(key, _)| key.clone());
    for key in gone.collect::<Vec<_>>() {
        work.state.change(&key, PersonState::default).window = None;
    }
}

/// A person, and the site and source of the frames they are in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct PersonKey {
    site: String,
    source: String,
    person: String,
}

impl PersonKey {
    fn new(frame: &PoseFrame, person: &str) -> Self {
        let (site, source) = (frame.site.clone(), frame.source.clone());
        Self { site, source, person: person.to_owned() }
    }
}

impl StateKey for PersonKey {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site])
    }
}

/// The state of a person.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PersonState {
    posture: Posture,
    /// Activity of the last window, and its end.
    last: Activity,
    last_end: Tick,
    /// The tick of the last frame of the person.
    seen_at: Tick,
    /// The open window, if it contains a frame of the person.
    window: Option<Window>,
}

/// One person's window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Window {
    /// Number of frames by activity.
    n_frames: BTreeMap<Activity, u32>,
    zone: Option<String>,
    source_kind: SourceKind,
}

impl PersonState {
    /// Returns the activity of the last window; None before the first window ends.
    fn last_activity(&self) -> Option<Activity> {
        (self.last_end > 0).then_some(self.last)
    }

    /// Adds a frame to the open window.
    fn observe(&mut self, frame: &PoseFrame, person: &Person, config: &ActivityConfig) {
        let activity = self.posture.observe(frame.captured_at_ns, person, config);
        let window = self.window.get_or_insert_default();
        *window.n_frames.entry(activity).or_default() += 1;
        window.zone.clone_from(&person.zone);
        window.source_kind = frame.source_kind;
    }

    /// Appends the window, and an event if the activity changed.
    fn close(
        &mut self,
        key: &PersonKey,
        end: Tick,
        window: Window,
        operator: &TellsActivities,
        records: &mut Vec<Record>,
    ) {
        let PersonKey { site, person, .. } = key;
        let (activity, confidence) = window.verdict();
        let ends_at_ns = i64::try_from(end).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS);
        let window_ms = i64::try_from(operator.config.window_ms()).unwrap_or(i64::MAX);
        if self.last != activity {
            let (fell, changed) = (EventType::FallDetected, EventType::ActivityDetected);
            let event_type = if activity == Activity::Fall { fell } else { changed };
            let about = format!("{site}/{person}");
            records.push(Record::Event(Event {
                id: EventId::derive(&operator.component.pipeline, end, event_type, &about),
                event_type,
                site: site.clone(),
                occurred_at_ns: ends_at_ns,
                subject: person.clone(),
                zone: window.zone.clone(),
                activity: Some(activity),
                confidence,
                source_kind: window.source_kind,
            }));
        }
        (self.last, self.last_end) = (activity, end);
        records.push(Record::Activity(ActivityWindow {
            site: site.clone(),
            subject: person.clone(),
            starts_at_ns: ends_at_ns.saturating_sub(window_ms.saturating_mul(NS_PER_MS)),
            ends_at_ns,
            activity,
            confidence,
            zone: window.zone,
            source_kind: window.source_kind,
        }));
    }
}

impl Window {
    fn fell(&self) -> bool {
        self.n_frames.contains_key(&Activity::Fall)
    }

    /// Returns the most frequent activity, and its share of the frames. A fall takes precedence.
    fn verdict(&self) -> (Activity, f32) {
        let n_frames: u32 = self.n_frames.values().sum();
        let most =
            self.n_frames.iter().max_by_key(|(activity, n)| (**activity == Activity::Fall, **n));
        most.map_or((Activity::Unknown, 0.0), |(activity, n)| {
            (*activity, (*n as f32 / n_frames as f32 * 100.0).round() / 100.0)
        })
    }
}

#[cfg(test)]
mod tests;
