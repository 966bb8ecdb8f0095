//! What changes at a site in one tick, as records.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    Event, EventId, EventType, PoseFrame, Record, RecordType, SourceKind, Tick, ZoneOccupancy,
};
use serde::{Deserialize, Serialize};

use crate::Context;

const NS_PER_MS: i64 = 1_000_000;

/// A frame, or a difference of one of the collections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Update {
    /// Someone entered (+1) or left (-1) a zone.
    Member { site: String, zone: String, person: String, diff: isize },
    /// The people in a zone are no longer (-1), or are now (+1), these.
    Occupied { site: String, zone: String, persons: Vec<String>, diff: isize },
    /// A frame.
    Frame(PoseFrame),
}

impl Update {
    pub(super) fn site(&self) -> &str {
        match self {
            Self::Member { site, .. } | Self::Occupied { site, .. } => site,
            Self::Frame(frame) => &frame.site,
        }
    }

    /// By site; then who left before who entered, before the counts, before the frames.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.site().cmp(other.site()).then_with(|| match (self, other) {
            (Self::Frame(a), Self::Frame(b)) => a.order_key().cmp(&b.order_key()),
            _ => self.order_key().cmp(&other.order_key()),
        })
    }

    fn order_key(&self) -> (u8, isize, &str, &str) {
        match self {
            Self::Member { zone, person, diff, .. } => (0, *diff, zone, person),
            Self::Occupied { zone, diff, .. } => (1, *diff, zone, ""),
            Self::Frame(_) => (2, 0, "", ""),
        }
    }
}

/// Who is in which zone of one site.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The zones each person is in.
    zones_of: BTreeMap<String, BTreeSet<String>>,
    source_kind: SourceKind,
}

impl Membership {
    /// Turns the updates of one tick, in their order, into records.
    pub(super) fn update(
        &mut self,
        tick: Tick,
        updates: &[Update],
        context: &Context,
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
                        context,
                    )));
                }
                // A zone whose people are no longer these, and are not others, is empty.
                Update::Occupied { zone, diff: ..0, .. } => {
                    occupied.insert(zone, &[]);
                }
                Update::Occupied { zone, persons, .. } => {
                    occupied.insert(zone, persons);
                }
                Update::Frame(frame) => records.push(Record::Pose(self.place(frame, context))),
            }
        }
        let site = updates.first().map(Update::site).unwrap_or_default();
        records.extend(occupied.into_iter().map(|(zone, persons)| {
            Record::Occupancy(ZoneOccupancy {
                site: site.to_owned(),
                zone: zone.to_owned(),
                // No site has so many people.
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

    fn event(&self, tick: Tick, entered: bool, about: [&String; 3], context: &Context) -> Event {
        let event_type = if entered { EventType::EnteredZone } else { EventType::LeftZone };
        let [site, zone, person] = about;
        let subject = format!("{site}/{zone}/{person}");
        Event {
            id: EventId::derive(&context.pipeline, tick, event_type, &subject),
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

    /// The frame with its people's zones.
    fn place(&self, frame: &PoseFrame, context: &Context) -> PoseFrame {
        let mut frame = frame.clone();
        frame.source = context.name.to_string();
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
