//! Rooms: the links of a room vote on motion and presence.

mod votes;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemas::{
    Motion, Presence, PresenceState, RecordKind, SourceKind, Tick, TimeSpan, stable_hash,
};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::keyed::{HOUR_MS, StateLimits};
use crate::rooms::votes::{Verdict, Votes};
use crate::settings::{DAY, Outputs, SHORTEST, Settings, outside};
use crate::stateful::{Stateful, Work, stateful};
use crate::{Context, CountDropped, StateKey};

const NS_PER_MS: i64 = 1_000_000;
/// Event time from one check of silent links to the next.
const CHECK_EVERY_MS: u64 = 1000;

/// Settings of the `rooms` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoomsConfig {
    /// The links of each room: `receiver/transmitter`, or a receiver for all of its links. By default, all
    /// links of a site are one room that has the name of the site.
    pub rooms: BTreeMap<String, Vec<String>>,
    /// Time after its last report from which a link has no vote; "5s" by default.
    pub max_age: TimeSpan,
    /// Time for which somebody is present after the last evidence, unless all links report that nothing moves;
    /// "1min" by default.
    pub hold: TimeSpan,
    /// Time between reports of a room without a change; "1s" by default.
    pub report_every: TimeSpan,
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self {
            rooms: BTreeMap::new(),
            max_age: TimeSpan::from_s(5),
            hold: TimeSpan::from_s(60),
            report_every: TimeSpan::from_s(1),
        }
    }
}

impl Settings for RoomsConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Presence)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Presence)]
    }

    fn problems(&self) -> Vec<String> {
        let empty = self.rooms.iter().filter(|(_, links)| links.is_empty());
        let empty = empty.map(|(room, _)| format!("rooms: {room:?} has no links"));
        let max_age = outside("max_age", self.max_age, &(SHORTEST..=DAY));
        let hold = outside("hold", self.hold, &(TimeSpan::ZERO..=DAY));
        let report_every = outside("report_every", self.report_every, &(TimeSpan::ZERO..=DAY));
        empty.chain([max_age, hold, report_every].into_iter().flatten()).collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some("rooms 1".to_owned())
    }
}

impl RoomsConfig {
    /// Returns the rooms of a link.
    fn rooms_of<'a>(&'a self, report: &'a Presence) -> Vec<&'a str> {
        if self.rooms.is_empty() {
            return vec![&report.site];
        }
        let receiver = report.link.split_once('/').map(|(receiver, _)| receiver);
        let is_named = |name: &String| *name == report.link || Some(name.as_str()) == receiver;
        let rooms = self.rooms.iter().filter(|(_, links)| links.iter().any(is_named));
        rooms.map(|(room, _)| room.as_str()).collect()
    }
}

/// Rooms on streams of presence.
pub trait Rooms<'scope> {
    /// Reports motion and presence in each room, at every change and regularly.
    ///
    /// The column `link` has the name of the room. Each link votes with its last report. A room is moving if half
    /// of its links are, or one with a confidence of 0.9. It is present if one link is, and absent if all links
    /// are. State: the last report of each link, on the worker that the
    /// site hashes to. A room whose links are silent is unknown, and expires after an hour.
    ///
    /// ```
    /// use operators::{Context, Rooms, RoomsConfig};
    /// use schemas::{Motion, Presence};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let report = |link: &str, motion| Presence {
    ///     site: "flat".to_owned(),
    ///     link: link.to_owned(),
    ///     motion,
    ///     confidence: Some(0.8),
    ///     ..Presence::default()
    /// };
    /// let reports = vec![report("desk/ap", Motion::Still), report("door/ap", Motion::Moving)];
    /// let (to, rooms) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let reports = reports.to_stream(scope).container::<Vec<_>>();
    ///     let rooms = reports.rooms(RoomsConfig::default(), Context::detached("rooms"));
    ///     rooms.inspect(move |room| to.send((room.link.clone(), room.motion)).unwrap());
    /// });
    /// assert_eq!(rooms.recv()?, ("flat".to_owned(), Motion::Moving));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn rooms(self, config: RoomsConfig, context: Context<'scope>) -> Self;
}

impl<'scope> Rooms<'scope> for StreamVec<'scope, Tick, Presence> {
    fn rooms(self, config: RoomsConfig, context: Context<'scope>) -> Self {
        let dropped = CountDropped::clone(&context.component.dropped);
        stateful(self, &context, CombinesLinks { config, dropped })
    }
}

struct CombinesLinks {
    config: RoomsConfig,
    dropped: CountDropped,
}

/// A room of a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct RoomKey {
    site: String,
    room: String,
}

impl StateKey for RoomKey {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site])
    }
}

/// The state of a room.
#[derive(Debug, Default, Serialize, Deserialize)]
struct RoomState {
    votes: Votes,
    source_kind: SourceKind,
    /// The tick of the last evidence that somebody is present.
    present_at: Option<Tick>,
    reported: Option<Reported>,
}

/// The last report.
#[derive(Debug, Serialize, Deserialize)]
struct Reported {
    at: Tick,
    motion: Motion,
    presence: PresenceState,
}

impl RoomState {
    /// Returns the report of a tick, if one is due; without news of a link, only changes are.
    fn report(
        &mut self,
        tick: Tick,
        key: &RoomKey,
        config: &RoomsConfig,
        has_news: bool,
    ) -> Option<Presence> {
        self.votes.forget_before(tick.saturating_sub(config.max_age.as_ms()));
        let verdict = self.votes.verdict();
        let presence = self.presence(tick, verdict, config);
        let is_due = self.reported.as_ref().is_none_or(|reported| {
            let has_changed = (reported.motion, reported.presence) != (verdict.motion, presence);
            has_changed
                || has_news && tick.saturating_sub(reported.at) >= config.report_every.as_ms()
        });
        if !is_due {
            return None;
        }
        self.reported = Some(Reported { at: tick, motion: verdict.motion, presence });
        Some(Presence {
            site: key.site.clone(),
            link: key.room.clone(),
            captured_at_ns: i64::try_from(tick).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS),
            motion: verdict.motion,
            presence: Some(presence),
            breaths_per_minute: verdict.breaths_per_minute,
            confidence: verdict.confidence,
            source_kind: self.source_kind,
            ..Presence::default()
        })
    }

    /// Returns the presence. After the last evidence, it stays present for the time `hold`.
    fn presence(&mut self, tick: Tick, verdict: Verdict, config: &RoomsConfig) -> PresenceState {
        match verdict.presence {
            PresenceState::Present => self.present_at = Some(tick),
            PresenceState::Absent => self.present_at = None,
            PresenceState::Unknown => {}
        }
        let since_ms = self.present_at.map(|present_at| tick.saturating_sub(present_at));
        let is_recent = since_ms.is_some_and(|since_ms| since_ms <= config.hold.as_ms());
        match verdict.presence {
            PresenceState::Unknown if is_recent => PresenceState::Present,
            presence => presence,
        }
    }

    /// True if the room changes without a report of its links.
    fn is_open(&self) -> bool {
        let is_present = |it: &Reported| it.presence != PresenceState::Unknown;
        !self.votes.is_empty() || self.reported.as_ref().is_some_and(is_present)
    }
}

impl CombinesLinks {
    /// Reports the rooms of which a report is due.
    fn report(&self, tick: Tick, keys: Vec<RoomKey>, has_news: bool, work: &mut Work<'_, Self>) {
        for key in keys {
            let state = work.state.change(&key, RoomState::default);
            let report = state.report(tick, &key, &self.config, has_news);
            work.outputs.extend(report);
        }
    }
}

/// Sets a timer while any room may change without a report of its links.
fn set_next_timer(tick: Tick, work: &mut Work<'_, CombinesLinks>) {
    if work.state.iter().any(|(_, state)| state.is_open()) {
        work.set_timer((tick / CHECK_EVERY_MS + 1) * CHECK_EVERY_MS);
    }
}

impl Stateful for CombinesLinks {
    type Input = Presence;
    type Output = Presence;
    type Key = RoomKey;
    type State = RoomState;

    const LIMITS: StateLimits =
        StateLimits { time_to_live_ms: Some(HOUR_MS), max_keys_per_group: 128 };

    fn route(report: &Presence) -> u64 {
        stable_hash(&[&report.site])
    }

    fn on_tick(&mut self, tick: Tick, reports: Vec<Presence>, work: &mut Work<'_, Self>) {
        let mut keys = Vec::new();
        for report in reports {
            let rooms = self.config.rooms_of(&report);
            if rooms.is_empty() {
                (self.dropped)("link in no room", 1);
            }
            for room in rooms {
                let key = RoomKey { site: report.site.clone(), room: room.to_owned() };
                let state = work.state.change(&key, RoomState::default);
                if !state.votes.add(tick, &report) {
                    (self.dropped)("too many links in a room", 1);
                }
                state.source_kind = report.source_kind;
                keys.push(key);
            }
        }
        keys.sort();
        keys.dedup();
        self.report(tick, keys, true, work);
        set_next_timer(tick, work);
    }

    fn on_timer(&mut self, tick: Tick, work: &mut Work<'_, Self>) {
        let open = work.state.iter().filter(|(_, state)| state.is_open());
        let mut keys: Vec<_> = open.map(|(key, _)| key.clone()).collect();
        keys.sort();
        self.report(tick, keys, false, work);
        set_next_timer(tick, work);
    }

    fn on_restore(&mut self, tick: Tick, work: &mut Work<'_, Self>) {
        set_next_timer(tick, work);
    }
}

#[cfg(test)]
mod tests;
