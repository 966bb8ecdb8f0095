//! Changes of zone membership at a site in one tick, as records.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::{
    Event, EventId, EventType, PoseFrame, Record, SourceKind, Tick, ZoneOccupancy, stable_hash,
};
use serde::{Deserialize, Serialize};

use crate::keyed::StateLimits;
use crate::stateful::{Ordered, Stateful, Work};
use crate::{Component, StateKey};

const NS_PER_MS: i64 = 1_000_000;

/// A frame, or a difference of one of the collections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Update {
    /// A person entered (+1) or left (-1) a zone.
    Member { site: String, zone: String, person: String, diff: isize },
    /// These people are now (+1), or are no longer (-1), the people in a zone.
    Occupied { site: String, zone: String, persons: Vec<String>, diff: isize },
    /// A frame.
    Frame(PoseFrame),
    /// The positions of a site's people were dropped.
    Evicted { site: String },
}

impl Update {
    pub(super) fn site(&self) -> &str {
        match self {
            Self::Member { site, .. } | Self::Occupied { site, .. } | Self::Evicted { site } => {
                site
            }
            Self::Frame(frame) => &frame.site,
        }
    }

    fn order_key(&self) -> (u8, isize, &str, &str, &[String]) {
        match self {
            Self::Member { zone, person, diff, .. } => (0, *diff, zone, person, &[]),
            Self::Occupied { zone, persons, diff, .. } => (1, *diff, zone, "", persons),
            Self::Frame(_) => (2, 0, "", "", &[]),
            Self::Evicted { .. } => (3, 0, "", "", &[]),
        }
    }
}

impl Ordered for Update {
    /// Orders by site; then people who left, people who entered, occupancies, frames and evictions.
    fn compare(&self, other: &Self) -> Ordering {
        self.site().cmp(other.site()).then_with(|| match (self, other) {
            (Self::Frame(a), Self::Frame(b)) => a.compare(b),
            _ => self.order_key().cmp(&other.order_key()),
        })
    }
}

/// The members of the zones of each site. They are not saved: after a restart, the collections send
/// everything again.
pub(super) struct Memberships {
    component: Component,
    /// Sites with known positions.
    sites: HashMap<String, Membership>,
}

impl Memberships {
    pub(super) fn new(component: Component) -> Self {
        Self { component, sites: HashMap::new() }
    }

    #[cfg(test)]
    pub(super) fn n_sites(&self) -> usize {
        self.sites.len()
    }

    /// Converts the updates of one tick, in their order, to records.
    pub(super) fn update(&mut self, tick: Tick, updates: &[Update], records: &mut Vec<Record>) {
        for of_site in updates.chunk_by(|a, b| a.site() == b.site()) {
            let name = of_site[0].site();
            let site = self.sites.entry(name.to_owned()).or_default();
            site.update(tick, of_site, &self.component, records);
            let is_evicted = matches!(of_site.last(), Some(Update::Evicted { .. }));
            if is_evicted && site.zones_of.is_empty() {
                self.sites.remove(name);
            }
        }
    }
}

/// The key of an operator without state; it has no values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum NoKey {}

impl StateKey for NoKey {
    fn route(&self) -> u64 {
        match *self {}
    }
}

impl Stateful for Memberships {
    type Input = Update;
    type Output = Record;
    type Key = NoKey;
    type State = ();

    const LIMITS: StateLimits = StateLimits::NO_STATE;

    fn route(update: &Update) -> u64 {
        stable_hash(&[update.site()])
    }

    fn on_tick(&mut self, tick: Tick, updates: Vec<Update>, work: &mut Work<'_, Self>) {
        self.update(tick, &updates, work.outputs);
    }
}

/// The members of each zone of one site.
#[derive(Debug, Default)]
struct Membership {
    /// The zones of each person.
    zones_of: BTreeMap<String, BTreeSet<String>>,
    source_kind: SourceKind,
}

impl Membership {
    /// Converts the updates of one tick, in their order, to records.
    fn update(
        &mut self,
        tick: Tick,
        updates: &[Update],
        component: &Component,
        records: &mut Vec<Record>,
    ) {
        let frames = || {
            updates.iter().filter_map(|update| match update {
                Update::Frame(frame) => Some(frame),
                _ => None,
            })
        };
        if let Some(frame) = frames().next() {
            self.source_kind = frame.source_kind;
        }
        let mut occupied = BTreeMap::<&str, &[String]>::new();
        for update in updates {
            match update {
                Update::Member { site, zone, person, diff } => {
                    let entered = *diff > 0;
                    self.set(person, zone, entered);
                    records.push(Record::Event(self.event(
                        tick,
                        entered,
                        [site, zone, person],
                        component,
                    )));
                }
                // A zone is empty if its people are removed, and no later update has other people.
                Update::Occupied { zone, diff: ..0, .. } => {
                    occupied.insert(zone, &[]);
                }
                Update::Occupied { zone, persons, .. } => {
                    occupied.insert(zone, persons);
                }
                Update::Frame(frame) => records.push(Record::Pose(self.place(frame, component))),
                Update::Evicted { .. } => {}
            }
        }
        let site = updates.first().map(Update::site).unwrap_or_default();
        records.extend(occupied.into_iter().map(|(zone, persons)| {
            Record::Occupancy(ZoneOccupancy {
                site: site.to_owned(),
                zone: zone.to_owned(),
                // No site has that many people.
                count: u32::try_from(persons.len()).unwrap_or(u32::MAX),
                persons: persons.to_vec(),
                since_ns: since_ns(tick),
                source_kind: self.source_kind,
            })
        }));
    }

    fn set(&mut self, person: &str, zone: &str, entered: bool) {
        let zones = self.zones_of.entry(person.to_owned()).or_default();
        if entered {
            zones.insert(zone.to_owned());
        } else {
            zones.remove(zone);
        }
        if zones.is_empty() {
            self.zones_of.remove(person);
        }
    }

    fn event(
        &self,
        tick: Tick,
        entered: bool,
        about: [&String; 3],
        component: &Component,
    ) -> Event {
        let event_type = if entered { EventType::EnteredZone } else { EventType::LeftZone };
        let [site, zone, person] = about;
        let subject = format!("{site}/{zone}/{person}");
        Event {
            id: EventId::derive(&component.pipeline, tick, event_type, &subject),
            event_type,
            site: site.clone(),
            occurred_at_ns: since_ns(tick),
            subject: person.clone(),
            zone: Some(zone.clone()),
            activity: None,
            confidence: 1.0,
            source_kind: self.source_kind,
        }
    }

    /// Returns the frame with the zones of its people.
    fn place(&self, frame: &PoseFrame, component: &Component) -> PoseFrame {
        let mut frame = frame.clone();
        frame.source = component.name.to_string();
        for person in &mut frame.persons {
            let zones = self.zones_of.get(&person.id);
            person.zone = zones.and_then(|zones| zones.first().cloned());
        }
        frame
    }
}

fn since_ns(tick: Tick) -> i64 {
    i64::try_from(tick).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS)
}
