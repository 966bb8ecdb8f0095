//! Motion on a link, with "unknown" as an honest answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SourceKind;

/// Whether something moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// Not calibrated yet, or not enough frames.
    #[default]
    Unknown,
    /// Nothing moves more than in the quiet room; a still person is not ruled out.
    Still,
    /// Something moves.
    Moving,
}

/// Motion on one link at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Presence {
    /// The place that was watched.
    pub site: String,
    /// The link, `receiver/transmitter`.
    pub link: String,
    /// Capture time of the newest frame behind it, in nanoseconds since the Unix epoch.
    pub captured_at_ns: i64,
    /// The result.
    pub motion: Motion,
    /// Moving variance of the turbulence; absent until a whole window was seen.
    pub moving_variance: Option<f32>,
    /// The threshold; absent before calibration.
    pub threshold: Option<f32>,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}
