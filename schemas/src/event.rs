//! Events: a person enters, leaves or falls, or a device connects or disconnects.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SourceKind, Tick, stable_hash};

/// Sixteen hexadecimal digits; a replay of the same input produces the same id.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub struct EventId(pub String);

impl EventId {
    /// Derives the id from the content of the event, never from the time of processing.
    pub fn derive(pipeline: &str, tick: Tick, event_type: EventType, subject: &str) -> Self {
        let tick = tick.to_string();
        let hash = stable_hash(&[pipeline, &tick, event_type.as_str(), subject]);
        Self(format!("{hash:016x}"))
    }
}

/// The type of an [`Event`], as in webhooks and topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// A person entered a zone.
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
    /// A measuring device has sent data, for the first time or after it was idle.
    #[serde(rename = "router.connected")]
    RouterConnected,
    /// A measuring device has become idle.
    #[serde(rename = "router.disconnected")]
    RouterDisconnected,
}

impl EventType {
    /// Returns the name in records and queries.
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

/// An event of a person or of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The id is stable under replay, so that a consumer can drop duplicates.
    pub id: EventId,
    /// The type of the event.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The observed place.
    pub site: String,
    /// Time of the event in nanoseconds since the Unix epoch.
    pub occurred_at_ns: i64,
    /// The person's id, or the device's name.
    pub subject: String,
    /// The zone of the event.
    pub zone: Option<String>,
    /// The activity of the person, for activity events.
    pub activity: Option<crate::Activity>,
    /// Confidence from 0 to 1.
    pub confidence: f32,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}

impl Event {
    /// Returns the bytes of its text.
    pub(crate) fn size_bytes(&self) -> usize {
        let zone = self.zone.as_ref().map_or(0, String::len);
        self.id.0.len() + self.site.len() + self.subject.len() + zone
    }
}
