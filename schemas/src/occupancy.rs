//! Who is in a zone, each time that changes.

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
    /// How many people are in it.
    pub count: u32,
    /// Their ids, sorted.
    pub persons: Vec<String>,
    /// Since when, in nanoseconds since the Unix epoch, to the tick.
    pub since_ns: i64,
    /// Where the measurements come from.
    pub source_kind: SourceKind,
}
