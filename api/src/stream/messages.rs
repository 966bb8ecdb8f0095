//! The messages of the WebSocket, and the subscriptions of a client.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::{ActivityWindow, Event, PoseFrame, Presence, Record, Rows, ZoneOccupancy};
use serde::{Deserialize, Serialize};

use crate::wall_clock::now;

/// The topics of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Topic {
    /// Frames of people.
    PoseUpdates,
    /// Events, and the occupancy of zones.
    ZoneEvents,
    /// Motion on links.
    Presence,
    /// Windows of activities.
    Activities,
    /// Rows of streams that have columns of their own.
    Rows,
}

/// Conditions on the records of a subscription. A record without the property of a filter does not pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    /// Only this zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone_id: Option<String>,
    /// Only this person.
    #[serde(skip_serializing_if = "Option::is_none")]
    person_id: Option<String>,
    /// Only people, events and activities with at least this confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_confidence: Option<f32>,
    /// Only frames of this source, or rows of this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Subscribe { topic: Topic, filters: Option<Filters> },
    Unsubscribe { topic: Topic },
    Ping,
}

/// A message of the server, other than an [`Update`].
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Reply {
    /// The first message.
    Connection { status: &'static str, server_time: DateTime<Utc> },
    /// A subscription has changed.
    Subscription {
        topic: Topic,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        filters: Option<Filters>,
    },
    /// The reply to a ping.
    Pong { timestamp: DateTime<Utc> },
    /// The client was too slow and has missed this many records.
    Lagged { missed: u64 },
    /// A message of the client is invalid.
    Error { detail: String },
}

impl Reply {
    /// Returns the first message.
    pub(super) fn connected() -> Self {
        Self::Connection { status: "connected", server_time: now() }
    }

    /// Returns the reply to an invalid message.
    pub(super) fn error(detail: &str) -> Self {
        Self::Error { detail: detail.to_owned() }
    }

    /// Returns the type of the message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Connection { .. } => "connection",
            Self::Subscription { .. } => "subscription",
            Self::Pong { .. } => "pong",
            Self::Lagged { .. } => "lagged",
            Self::Error { .. } => "error",
        }
    }

    /// Returns the type of the client's message that this is the reply to.
    pub(super) fn kind_of_request(&self) -> &'static str {
        match self {
            Self::Subscription { filters: Some(_), .. } => "subscribe",
            Self::Subscription { filters: None, .. } => "unsubscribe",
            Self::Pong { .. } => "ping",
            Self::Connection { .. } | Self::Lagged { .. } | Self::Error { .. } => "invalid",
        }
    }
}

/// A record that a client has subscribed to.
#[derive(Debug, Serialize)]
pub(super) struct Update<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    topic: Topic,
    data: Data<'a>,
}

/// The content of a record, without its kind: the update has that.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Pose(Cow<'a, PoseFrame>),
    Event(&'a Event),
    Occupancy(&'a ZoneOccupancy),
    Presence(&'a Presence),
    Activity(&'a ActivityWindow),
    Rows(&'a Rows),
}

/// The subscriptions of a client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    filters: BTreeMap<Topic, Filters>,
}

impl Subscriptions {
    /// Handles a message of the client, and returns the reply.
    pub(super) fn handle(&mut self, text: &str) -> Reply {
        match serde_json::from_str(text) {
            Ok(Request::Subscribe { topic, filters }) => {
                let filters = filters.unwrap_or_default();
                self.filters.insert(topic, filters.clone());
                Reply::Subscription { topic, status: "subscribed", filters: Some(filters) }
            }
            Ok(Request::Unsubscribe { topic }) => {
                self.filters.remove(&topic);
                Reply::Subscription { topic, status: "unsubscribed", filters: None }
            }
            Ok(Request::Ping) => Reply::Pong { timestamp: now() },
            Err(reason) => Reply::error(&reason.to_string()),
        }
    }

    /// Returns the update for a record, if the client has subscribed to it.
    pub(super) fn update<'a>(&self, record: &'a Record) -> Option<Update<'a>> {
        let (topic, kind, data) = match record {
            Record::Pose(frame) => {
                let filters = self.filters.get(&Topic::PoseUpdates)?;
                (Topic::PoseUpdates, "pose_update", Data::Pose(filters.apply_to_persons(frame)?))
            }
            Record::Event(event) => (Topic::ZoneEvents, "event", Data::Event(event)),
            Record::Occupancy(zone) => (Topic::ZoneEvents, "occupancy", Data::Occupancy(zone)),
            Record::Presence(presence) => (Topic::Presence, "presence", Data::Presence(presence)),
            Record::Activity(window) => (Topic::Activities, "activity", Data::Activity(window)),
            Record::Rows(rows) => (Topic::Rows, "rows", Data::Rows(rows)),
            Record::Csi(_) | Record::Video(_) => return None,
        };
        self.filters.get(&topic).filter(|filters| filters.pass(record))?;
        Some(Update { kind, topic, data })
    }
}

impl Filters {
    /// Returns the part of a record that passes the filters; none if the record does not pass.
    fn pass(&self, record: &Record) -> bool {
        match record {
            Record::Pose(_) => true,
            Record::Event(event) => {
                self.allows_zone(event.zone.as_deref())
                    && self.allows_person(Some(&event.subject))
                    && self.allows_confidence(Some(event.confidence))
            }
            Record::Occupancy(occupancy) => {
                let persons = &occupancy.persons;
                let has_person = |id: &String| persons.contains(id);
                self.allows_zone(Some(&occupancy.zone))
                    && self.person_id.as_ref().is_none_or(has_person)
            }
            Record::Activity(window) => {
                self.allows_zone(window.zone.as_deref())
                    && self.allows_person(Some(&window.subject))
                    && self.allows_confidence(Some(window.confidence))
            }
            Record::Rows(rows) => {
                self.is_bare() && self.source.as_ref().is_none_or(|stream| *stream == rows.stream)
            }
            Record::Presence(_) | Record::Csi(_) | Record::Video(_) => self.is_bare(),
        }
    }

    /// Keeps the persons of a frame that pass. A frame without such persons passes if the filters name
    /// neither a zone nor a person.
    fn apply_to_persons<'a>(&self, frame: &'a PoseFrame) -> Option<Cow<'a, PoseFrame>> {
        if self.source.as_ref().is_some_and(|source| *source != frame.source) {
            return None;
        }
        let persons = frame.persons.iter().filter(|person| {
            self.allows_confidence(Some(person.confidence))
                && self.allows_person(Some(&person.id))
                && self.allows_zone(person.zone.as_deref())
        });
        let persons: Vec<_> = persons.cloned().collect();
        if persons.is_empty() && (self.zone_id.is_some() || self.person_id.is_some()) {
            return None;
        }
        if persons.len() == frame.persons.len() {
            return Some(Cow::Borrowed(frame));
        }
        Some(Cow::Owned(PoseFrame { persons, ..frame.clone() }))
    }

    /// Returns true if the filters set neither zone, person nor confidence.
    fn is_bare(&self) -> bool {
        self.allows_zone(None) && self.allows_person(None) && self.allows_confidence(None)
    }

    fn allows_zone(&self, zone: Option<&str>) -> bool {
        self.zone_id.is_none() || self.zone_id.as_deref() == zone
    }

    fn allows_person(&self, person: Option<&str>) -> bool {
        self.person_id.is_none() || self.person_id.as_deref() == person
    }

    fn allows_confidence(&self, confidence: Option<f32>) -> bool {
        self.min_confidence.is_none_or(|least| confidence.is_some_and(|it| it >= least))
    }
}

#[cfg(test)]
mod tests {
    use schemas::Person;
    use serde_json::{Value, json};

    use super::*;

    fn frame() -> Record {
        let person = |id: &str, zone: &str, confidence| Person {
            id: id.to_owned(),
            zone: Some(zone.to_owned()),
            confidence,
            ..Person::default()
        };
        let persons = vec![person("p1", "hall", 0.9), person("p2", "kitchen", 0.4)];
        Record::Pose(PoseFrame { persons, ..PoseFrame::default() })
    }

    fn to_json(message: &impl Serialize) -> Value {
        serde_json::to_value(message).expect("messages are JSON")
    }

    /// Returns the ids in the update for a frame; none without an update.
    fn persons(filters: &Value) -> Option<Vec<String>> {
        let mut subscriptions = Subscriptions::default();
        let subscribe = json!({ "type": "subscribe", "topic": "pose_updates", "filters": filters });
        let reply = to_json(&subscriptions.handle(&subscribe.to_string()));
        assert_eq!(reply["status"], "subscribed", "{reply}");
        let frame = frame();
        let update = to_json(&subscriptions.update(&frame)?);
        let persons = update["data"]["persons"].as_array()?.iter();
        Some(persons.filter_map(|person| Some(person["id"].as_str()?.to_owned())).collect())
    }

    #[test]
    fn filters_apply_to_the_persons_of_a_frame() {
        for (filters, expected) in [
            (json!({}), Some(vec!["p1", "p2"])),
            (json!({ "zone_id": "kitchen" }), Some(vec!["p2"])),
            (json!({ "zone_id": "bath" }), None),
            (json!({ "person_id": "p1" }), Some(vec!["p1"])),
            (json!({ "min_confidence": 0.5 }), Some(vec!["p1"])),
            (json!({ "min_confidence": 1.0 }), Some(vec![])),
            (json!({ "source": "other" }), None),
        ] {
            let expected =
                expected.map(|ids| ids.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(persons(&filters), expected, "{filters}");
        }
    }

    #[test]
    fn invalid_messages_are_errors() {
        let mut subscriptions = Subscriptions::default();
        for text in
            ["", "5", "{}", r#"{"type":"subscribe"}"#, r#"{"type":"subscribe","topic":"all"}"#]
        {
            assert_eq!(to_json(&subscriptions.handle(text))["type"], "error", "{text}");
        }
        assert!(subscriptions.filters.is_empty());
    }

    #[test]
    fn a_client_receives_the_topics_of_its_subscriptions() {
        let subscribe = r#"{"type":"subscribe","topic":"zone_events"}"#;
        let mut subscriptions = Subscriptions::default();
        subscriptions.handle(subscribe);
        assert!(subscriptions.update(&frame()).is_none());
        let event = Record::Event(Event::default());
        let update = subscriptions.update(&event).expect("an event");
        assert_eq!(to_json(&update)["type"], "event");
        let occupancy = Record::Occupancy(ZoneOccupancy::default());
        assert!(subscriptions.update(&occupancy).is_some());
        subscriptions.handle(&subscribe.replace("sub", "unsub"));
        assert!(subscriptions.update(&event).is_none());
    }

    #[test]
    fn numbers_are_as_short_as_in_queries() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.handle(r#"{"type":"subscribe","topic":"presence"}"#);
        let record =
            Record::Presence(Presence { moving_variance: Some(0.1), ..Presence::default() });
        let update = subscriptions.update(&record).expect("presence");
        let text = serde_json::to_string(&update).expect("messages are JSON");
        assert!(text.contains("\"moving_variance\":0.1,"), "{text}");
    }
}
