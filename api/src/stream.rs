//! The WebSocket: a client subscribes to topics, with filters, and gets what happens.
//!
//! A client that reads too slowly misses messages, and is told how many. One that reads nothing, or does
//! not answer pings, is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use schemas::{PoseFrame, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::server::{SessionKind, Timeouts};
use crate::wall_clock::now;

/// Largest message of a client.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Bytes that may wait to be sent to a client.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// The buffer for a client's messages, which are few and short: there may be thousands of clients.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Pings in a row that a client may leave without an answer.
const MAX_UNANSWERED: usize = 2;

/// Time-out of a client's close frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// The topics of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Topic {
    /// Frames of people.
    PoseUpdates,
    /// Events, and the occupancy of zones.
    ZoneEvents,
}

/// Which records of a topic a client wants; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Only this zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone_id: Option<String>,
    /// Only this person.
    #[serde(skip_serializing_if = "Option::is_none")]
    person_id: Option<String>,
    /// Only people and events with at least this confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_confidence: Option<f32>,
    /// Only frames of this source.
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

/// A stream of what happens, over a WebSocket.
///
/// Send `{"type": "subscribe", "topic": "pose_updates", "filters": {"zone_id": "kitchen"}}`; topics are
/// `pose_updates` and `zone_events`, filters `zone_id`, `person_id`, `min_confidence` and `source`.
#[utoipa::path(
    get,
    path = "/ws/v1/stream",
    responses(
        (status = 101, description = "The connection is a WebSocket from here on."),
        (status = 503, description = "Too many WebSockets and taps are open.", body = Problem),
    ),
)]
pub(crate) async fn stream(
    State(app): State<App>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, RequestError> {
    let session = app.server.connections.session(SessionKind::WebSocket);
    let session = session.ok_or(RequestError::TooManySessions)?;
    let records = app.shared.hub.subscribe();
    Ok(bounded(upgrade).on_upgrade(move |socket| async move {
        // The connection is gone then, and there is nobody to tell.
        let _ = talk(socket, records, app.server.ending, app.server.timeouts).await;
        drop(session);
    }))
}

/// A WebSocket that takes little memory.
pub(crate) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(MAX_WAITING_BYTES)
}

/// Serves a client until it leaves, does not answer, or the server ends.
pub(crate) async fn talk(
    mut socket: WebSocket,
    mut records: Receiver<Arc<Record>>,
    mut ending: watch::Receiver<bool>,
    timeouts: Timeouts,
) -> Result<(), axum::Error> {
    let mut subscriptions = BTreeMap::new();
    let mut pings = interval_at(Instant::now() + timeouts.ping, timeouts.ping);
    // A client has its time, also after a message that took long to send.
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut n_unanswered = 0;
    let hello = json!({ "type": "connection", "status": "connected", "server_time": now() });
    send(&mut socket, text(&hello), timeouts).await?;
    loop {
        let answer = tokio::select! {
            message = socket.recv() => {
                n_unanswered = 0;
                match message.transpose()? {
                    None | Some(Message::Close(_)) => return Ok(()),
                    Some(Message::Text(message)) => text(&answer(&message, &mut subscriptions)),
                    Some(Message::Binary(_)) => text(&error("messages are text")),
                    Some(Message::Ping(_) | Message::Pong(_)) => continue,
                }
            }
            record = records.recv() => match record {
                Ok(record) => match message(&record, &subscriptions) {
                    Some(message) => text(&message),
                    None => continue,
                },
                Err(RecvError::Lagged(n_missed)) => {
                    text(&json!({ "type": "lagged", "missed": n_missed }))
                }
                Err(RecvError::Closed) => break,
            },
            _ = pings.tick() => {
                if n_unanswered == MAX_UNANSWERED {
                    return Ok(());
                }
                n_unanswered += 1;
                Message::Ping(Bytes::new())
            }
            _ = ending.changed() => break,
        };
        send(&mut socket, answer, timeouts).await?;
    }
    // A socket that is closed before the client has answered resets.
    let _ = timeout(FAREWELL, say_goodbye(&mut socket)).await;
    Ok(())
}

/// Sends a close frame, and waits for the client's.
async fn say_goodbye(socket: &mut WebSocket) -> Result<(), axum::Error> {
    let reason = "the pipeline ended".into();
    let close = CloseFrame { code: close_code::AWAY, reason };
    socket.send(Message::Close(Some(close))).await?;
    while let Some(Ok(_)) = socket.recv().await {}
    Ok(())
}

/// Sends a message; an error if the client does not read it in time.
async fn send(
    socket: &mut WebSocket,
    message: Message,
    timeouts: Timeouts,
) -> Result<(), axum::Error> {
    timeout(timeouts.idle, socket.send(message)).await.map_err(axum::Error::new)?
}

fn text(message: &Value) -> Message {
    Message::Text(message.to_string().into())
}

fn error(detail: &str) -> Value {
    json!({ "type": "error", "detail": detail })
}

/// Does what a client says.
fn answer(text: &str, subscriptions: &mut BTreeMap<Topic, Filters>) -> Value {
    match serde_json::from_str(text) {
        Ok(Request::Subscribe { topic, filters }) => {
            let filters = filters.unwrap_or_default();
            subscriptions.insert(topic, filters.clone());
            let status = "subscribed";
            json!({ "type": "subscription", "topic": topic, "status": status, "filters": filters })
        }
        Ok(Request::Unsubscribe { topic }) => {
            subscriptions.remove(&topic);
            json!({ "type": "subscription", "topic": topic, "status": "unsubscribed" })
        }
        Ok(Request::Ping) => json!({ "type": "pong", "timestamp": now() }),
        Err(reason) => error(&reason.to_string()),
    }
}

/// The messages for a client with these subscriptions.
fn message(record: &Arc<Record>, subscriptions: &BTreeMap<Topic, Filters>) -> Option<Value> {
    let (topic, kind) = match &**record {
        Record::Pose(_) => (Topic::PoseUpdates, "pose_update"),
        Record::Event(_) => (Topic::ZoneEvents, "event"),
        Record::Occupancy(_) => (Topic::ZoneEvents, "occupancy"),
        _ => return None,
    };
    let data = subscriptions.get(&topic)?.apply(record)?;
    Some(json!({ "type": kind, "topic": topic, "data": data }))
}

impl Filters {
    /// The rest of a record; none if nothing is left.
    fn apply(&self, record: &Record) -> Option<Value> {
        let confident =
            |confidence: f32| self.min_confidence.is_none_or(|least| confidence >= least);
        let about = |person: &str| self.person_id.as_deref().is_none_or(|id| id == person);
        let at = |zone: Option<&str>| self.zone_id.is_none() || self.zone_id.as_deref() == zone;
        let data = match record {
            Record::Pose(frame) => {
                if self.source.as_ref().is_some_and(|source| *source != frame.source) {
                    return None;
                }
                let persons = frame.persons.iter().filter(|person| {
                    confident(person.confidence) && about(&person.id) && at(person.zone.as_deref())
                });
                let persons: Vec<_> = persons.cloned().collect();
                let filtered = self.zone_id.is_some() || self.person_id.is_some();
                if persons.is_empty() && filtered {
                    return None;
                }
                serde_json::to_value(PoseFrame { persons, ..frame.clone() })
            }
            Record::Event(event) => {
                let wanted = confident(event.confidence) && about(&event.subject);
                if !wanted || !at(event.zone.as_deref()) {
                    return None;
                }
                serde_json::to_value(event)
            }
            Record::Occupancy(occupancy) if at(Some(&occupancy.zone)) => {
                serde_json::to_value(occupancy)
            }
            _ => return None,
        };
        data.ok()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Event, Person, ZoneOccupancy};

    use super::*;

    fn frame() -> Arc<Record> {
        let person = |id: &str, zone: &str, confidence| Person {
            id: id.to_owned(),
            zone: Some(zone.to_owned()),
            confidence,
            ..Person::default()
        };
        let persons = vec![person("p1", "hall", 0.9), person("p2", "kitchen", 0.4)];
        Arc::new(Record::Pose(PoseFrame { persons, ..PoseFrame::default() }))
    }

    /// The ids in the message that a frame becomes; none if there is no message.
    fn persons(filters: &Value) -> Option<Vec<String>> {
        let mut subscriptions = BTreeMap::new();
        let subscribe = json!({ "type": "subscribe", "topic": "pose_updates", "filters": filters });
        let answer = answer(&subscribe.to_string(), &mut subscriptions);
        assert_eq!(answer["status"], "subscribed", "{answer}");
        let message = message(&frame(), &subscriptions)?;
        let persons = message["data"]["persons"].as_array()?.iter();
        Some(persons.filter_map(|person| Some(person["id"].as_str()?.to_owned())).collect())
    }

    #[test]
    fn filters_look_at_the_people_of_a_frame() {
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
    fn what_makes_no_sense_is_answered() {
        let mut subscriptions = BTreeMap::new();
        for text in
            ["", "5", "{}", r#"{"type":"subscribe"}"#, r#"{"type":"subscribe","topic":"all"}"#]
        {
            assert_eq!(answer(text, &mut subscriptions)["type"], "error", "{text}");
        }
        assert!(subscriptions.is_empty());
    }

    #[test]
    fn only_what_is_subscribed_to_comes() {
        let subscribe = r#"{"type":"subscribe","topic":"zone_events"}"#;
        let mut subscriptions = BTreeMap::new();
        answer(subscribe, &mut subscriptions);
        assert!(message(&frame(), &subscriptions).is_none());
        let event = Arc::new(Record::Event(Event::default()));
        assert_eq!(message(&event, &subscriptions).expect("an event")["type"], "event");
        let occupancy = Arc::new(Record::Occupancy(ZoneOccupancy::default()));
        assert!(message(&occupancy, &subscriptions).is_some());
        answer(&subscribe.replace("sub", "unsub"), &mut subscriptions);
        assert!(message(&event, &subscriptions).is_none());
    }
}
