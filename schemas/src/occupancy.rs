//! Occupancy of a zone, for each change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SourceKind;

/// The people in one zone from one tick on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ZoneOccupancy {
    /// The place that was watched.
    pub site: String,
    /// The zone's name.
    pub zone: String,
    /// People in the zone.
    pub count: u32,
    /// Their ids, sorted.
    pub persons: Vec<String>,
    /// Since when, in nanoseconds since the Unix epoch, to the tick.
    pub since_ns: i64,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}
