//! Things that happen once: someone enters, leaves or falls.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SourceKind, Tick, stable_hash};

/// Sixteen hexadecimal digits, the same whenever the same input is replayed.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub struct EventId(pub String);

impl EventId {
    /// Derives the id from what the event is, never from when it was handled.
    pub fn derive(pipeline: &str, tick: Tick, event_type: EventType, subject: &str) -> Self {
        let tick = tick.to_string();
        let hash = stable_hash(&[pipeline, &tick, event_type.as_str(), subject]);
        Self(format!("{hash:016x}"))
    }
}

/// The type of an [`Event`], as webhooks and topics name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// A person came into a zone.
    #[default]
    #[serde(rename = "person.entered_zone")]
    EnteredZone,
    /// A person left a zone.
    #[serde(rename = "person.left_zone")]
    LeftZone,
    /// A person fell.
    #[serde(rename = "person.fall_detected")]
    FallDetected,
    /// A person's activity changed.
    #[serde(rename = "person.activity_detected")]
    ActivityDetected,
    /// A device that measures was heard, for the first time or after a silence.
    #[serde(rename = "router.connected")]
    RouterConnected,
    /// A device that measures has fallen silent.
    #[serde(rename = "router.disconnected")]
    RouterDisconnected,
}

impl EventType {
    /// The name in records and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnteredZone => "person.entered_zone",
            Self::LeftZone => "person.left_zone",
            Self::FallDetected => "person.fall_detected",
            Self::ActivityDetected => "person.activity_detected",
            Self::RouterConnected => "router.connected",
            Self::RouterDisconnected => "router.disconnected",
        }
    }
}

/// Something that happened to a person, or to a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Stable under replay, so that a consumer can drop doubles.
    pub id: EventId,
    /// The type of the event.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The place that was watched.
    pub site: String,
    /// When, in nanoseconds since the Unix epoch.
    pub occurred_at_ns: i64,
    /// The person's id, or the device's name.
    pub subject: String,
    /// The zone it happened in.
    pub zone: Option<String>,
    /// The activity of the person, for activity events.
    pub activity: Option<crate::Activity>,
    /// Confidence from 0 to 1.
    pub confidence: f32,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}
