//! Activities: what each person does, in windows of event time.
//!
//! A person's height in the view tells upright from seated from lying, and their way over the plan
//! tells walking from standing. A fall is a short way down from upright to lying.

mod posture;

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use schemas::{
    Activity, ActivityWindow, Event, EventId, EventType, PoseFrame, Record, RecordType, SourceKind,
    Tick, stable_hash,
};
use serde::Deserialize;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, Operator};

use crate::activity::posture::Posture;
use crate::{ClosedTicks, Context};

const NS_PER_MS: i64 = 1_000_000;

/// Settings of `activity`. Its outputs are the windows, and `events` when an activity changes or a
/// person falls.
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
}

/// Activities on streams of poses.
pub trait Activities<'scope> {
    /// Gives each person's activity, one window after the other, when the window is over.
    ///
    /// Windows are aligned to the Unix epoch; a frame belongs to the window of its tick. State: a few
    /// seconds of each person, on the worker that the site hashes to; a person who is not seen for two
    /// windows is forgotten.
    fn activities(
        self,
        config: ActivityConfig,
        context: Context,
    ) -> StreamVec<'scope, Tick, Record>;
}

impl<'scope> Activities<'scope> for StreamVec<'scope, Tick, PoseFrame> {
    fn activities(
        self,
        config: ActivityConfig,
        context: Context,
    ) -> StreamVec<'scope, Tick, Record> {
        let by_site = Exchange::new(|frame: &PoseFrame| stable_hash(&[&frame.site]));
        self.unary_frontier::<CapacityContainerBuilder<Vec<Record>>, _, _, _>(
            by_site,
            "Activity",
            move |_capability, _info| {
                let mut ticks = ClosedTicks::<PoseFrame>::default();
                let mut open: Option<(Capability<Tick>, Windows)> = None;
                let mut people = HashMap::new();
                move |(input, frontier), output| {
                    input.for_each_time(|time, batches| {
                        ticks.insert(&time, batches, |time| time.retain(0));
                    });
                    let mut close = |(end, windows): (Capability<Tick>, Windows),
                                     people: &mut _| {
                        let records = windows.close(*end.time(), people, &config, &context);
                        output.session(&end).give_iterator(records.into_iter());
                    };
                    while let Some((tick, capability, mut frames)) = ticks.pop(frontier) {
                        if let Some(over) = open.take_if(|(end, _)| *end.time() <= tick) {
                            close(over, &mut people);
                        }
                        let end = (tick / config.window_ms() + 1) * config.window_ms();
                        let (_, windows) = open
                            .get_or_insert_with(|| (capability.delayed(&end), Windows::default()));
                        frames.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
                        for frame in &frames {
                            windows.observe(frame, &mut people, &config);
                        }
                    }
                    if let Some(over) = open.take_if(|(end, _)| !frontier.less_than(end.time())) {
                        close(over, &mut people);
                    }
                }
            },
        )
    }
}

/// A person's site and id.
type PersonKey = (String, String);

/// What is known of everyone, beyond windows.
type People = HashMap<PersonKey, Known>;

/// What is known of a person.
#[derive(Debug, Default)]
struct Known {
    posture: Posture,
    /// Activity of the last window, and when it ended.
    last: Activity,
    last_end: Tick,
}

/// The window that is open, of each person.
#[derive(Debug, Default)]
struct Windows {
    people: BTreeMap<PersonKey, Window>,
}

/// One person's window.
#[derive(Debug, Default)]
struct Window {
    /// Frames in which the person did each thing.
    n_frames: BTreeMap<Activity, u32>,
    zone: Option<String>,
    source_kind: SourceKind,
}

impl Windows {
    /// Notes what everyone in a frame does.
    fn observe(&mut self, frame: &PoseFrame, people: &mut People, config: &ActivityConfig) {
        for person in &frame.persons {
            let key = (frame.site.clone(), person.id.clone());
            let known = people.entry(key.clone()).or_default();
            let activity = known.posture.observe(frame.captured_at_ns, person, config);
            let window = self.people.entry(key).or_default();
            *window.n_frames.entry(activity).or_default() += 1;
            window.zone.clone_from(&person.zone);
            window.source_kind = frame.source_kind;
        }
    }

    /// The windows and events of everyone, at the end of the window.
    fn close(
        self,
        end: Tick,
        people: &mut People,
        config: &ActivityConfig,
        context: &Context,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for ((site, subject), window) in self.people {
            let (activity, confidence) = window.verdict();
            let ends_at_ns = i64::try_from(end).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS);
            let window_ns = i64::try_from(config.window_ms()).unwrap_or(i64::MAX) * NS_PER_MS;
            let known = people.entry((site.clone(), subject.clone())).or_default();
            if known.last != activity {
                let (fell, changed) = (EventType::FallDetected, EventType::ActivityDetected);
                let event_type = if activity == Activity::Fall { fell } else { changed };
                let about = format!("{site}/{subject}");
                records.push(Record::Event(Event {
                    id: EventId::derive(&context.pipeline, end, event_type, &about),
                    event_type,
                    site: site.clone(),
                    occurred_at_ns: ends_at_ns,
                    subject: subject.clone(),
                    zone: window.zone.clone(),
                    activity: Some(activity),
                    confidence,
                    source_kind: window.source_kind,
                }));
            }
            (known.last, known.last_end) = (activity, end);
            records.push(Record::Activity(ActivityWindow {
                site,
                subject,
                starts_at_ns: ends_at_ns - window_ns,
                ends_at_ns,
                activity,
                confidence,
                zone: window.zone,
                source_kind: window.source_kind,
            }));
        }
        people.retain(|_, known| known.last_end + 2 * config.window_ms() > end);
        records
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
