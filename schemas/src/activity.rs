//! Activities of people, by window.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SourceKind;

/// The activity of a person.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Too few frames to decide.
    #[default]
    Unknown,
    /// Upright and in place.
    Standing,
    /// Upright and moving.
    Walking,
    /// Seated.
    Sitting,
    /// Lying, after lying down slowly.
    Lying,
    /// Lying, after a fast fall.
    Fall,
}

impl Activity {
    /// Returns the name in records and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Standing => "standing",
            Self::Walking => "walking",
            Self::Sitting => "sitting",
            Self::Lying => "lying",
            Self::Fall => "fall",
        }
    }
}

/// The activity of one person over one window of event time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivityWindow {
    /// The observed place.
    pub site: String,
    /// The person's id.
    pub subject: String,
    /// Start of the window, inclusive, in nanoseconds since the Unix epoch.
    pub starts_at_ns: i64,
    /// End of the window, exclusive, in nanoseconds since the Unix epoch.
    pub ends_at_ns: i64,
    /// The person's main activity in the window; a fall takes precedence over all others.
    pub activity: Activity,
    /// Share of the window's frames that agree, from 0 to 1.
    pub confidence: f32,
    /// The last zone of the person.
    pub zone: Option<String>,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}

impl ActivityWindow {
    /// Returns the bytes of its text.
    pub(crate) fn size_bytes(&self) -> usize {
        let zone = self.zone.as_ref().map_or(0, String::len);
        self.site.len() + self.subject.len() + zone
    }
}
