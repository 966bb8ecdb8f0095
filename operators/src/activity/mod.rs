//! Activities: what each person does, in windows of event time.
//!
//! A person's height in the view tells upright from seated from lying, and their way over the plan
//! tells walking from standing. A fall is a short way down from upright to lying.

mod posture;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemas::{
    Activity, ActivityWindow, Event, EventId, EventType, Person, PoseFrame, Record, SourceKind,
    Tick, stable_hash,
};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::activity::posture::Posture;
use crate::keyed::StateLimits;
use crate::stateful::{Stateful, Work, stateful};
use crate::{Component, Context, StateKey};

const NS_PER_MS: i64 = 1_000_000;

/// Settings of `activity`. Its outputs are the windows, `people` (the frames, with the activity of each person in
/// the last window), and `events` when an activity changes or a person falls.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityConfig {
    /// Seconds of event time in a window; 2 by default, at least 0.1.
    #[serde(default = "default_window_s")]
    pub window_s: f64,
    /// Height of a standing person as a share of the view; 0.64 by default, as for 1.65 m from
    /// head to ankle in a room of 2.6 m.
    #[serde(default = "default_standing_height")]
    pub standing_height: f32,
    /// Speed above which an upright person walks, in metres a second; 0.35 by default.
    #[serde(default = "default_walking_m_s")]
    pub walking_m_s: f32,
    /// Longest way down of a fall, in seconds; 1.5 by default.
    #[serde(default = "default_falling_s")]
    pub falling_s: f64,
}

fn default_window_s() -> f64 {
    2.0
}

fn default_standing_height() -> f32 {
    0.64
}

fn default_walking_m_s() -> f32 {
    0.35
}

fn default_falling_s() -> f64 {
    1.5
}

impl ActivityConfig {
    fn window_ms(&self) -> u64 {
        (self.window_s.max(0.1) * 1e3) as u64
    }

    /// The end of the window that a tick is in.
    fn window_end(&self, tick: Tick) -> Tick {
        (tick / self.window_ms() * self.window_ms()).saturating_add(self.window_ms())
    }
}

/// Activities on streams of poses.
pub trait Activities<'scope> {
    /// Sends the activity of each person for each window, when the window is over.
    ///
    /// Windows are aligned to the Unix epoch; a frame belongs to the window of its tick. State: a few
    /// seconds of each person, on the worker that the site hashes to; a person who is not seen for two
    /// windows is forgotten.
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

    /// A person is forgotten with the windows. All people of a site are in one key group.
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
                let key = PersonKey { site: frame.site.clone(), person: person.id.clone() };
                let state = work.state.change(&key, PersonState::default);
                state.observe(&frame, person, &self.config);
                person.activity = state.last_activity();
            }
            let source = self.component.name.to_string();
            work.outputs.push(Record::Pose(PoseFrame { persons, source, ..frame }));
        }
    }

    /// A window is over.
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
    /// While anyone is remembered, each window has an end.
    fn set_next_timer(&self, tick: Tick, work: &mut Work<'_, Self>) {
        if work.state.iter().next().is_some() {
            work.set_timer(self.config.window_end(tick));
        }
    }
}

/// A person and the site they are at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct PersonKey {
    site: String,
    person: String,
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
    /// Activity of the last window, and when it ended.
    last: Activity,
    last_end: Tick,
    /// The window that is open, if the person was seen in it.
    window: Option<Window>,
}

/// One person's window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Window {
    /// Frames in which the person did each thing.
    n_frames: BTreeMap<Activity, u32>,
    zone: Option<String>,
    source_kind: SourceKind,
}

impl PersonState {
    /// The activity of the last window; none before its end.
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

    /// The window and the event, if the activity changed, at the end of a window.
    fn close(
        &mut self,
        key: &PersonKey,
        end: Tick,
        window: Window,
        operator: &TellsActivities,
        records: &mut Vec<Record>,
    ) {
        let PersonKey { site, person } = key;
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
    /// What the person did for most of it, and the share of frames that say so. A fall wins.
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
