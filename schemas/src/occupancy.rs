//! Occupancy of a zone, one record per change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SourceKind;

/// The people in one zone from one tick on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ZoneOccupancy {
    /// The observed place.
    pub site: String,
    /// The zone's name.
    pub zone: String,
    /// People in the zone.
    pub count: u32,
    /// The ids of the people, sorted.
    pub persons: Vec<String>,
    /// Start of this occupancy in nanoseconds since the Unix epoch, with the precision of a tick.
    pub since_ns: i64,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}

impl ZoneOccupancy {
    /// Returns the bytes of its lists and text.
    pub(crate) fn size_bytes(&self) -> usize {
        let persons = self.persons.iter().map(|id| size_of::<String>() + id.len());
        self.site.len() + self.zone.len() + persons.sum::<usize>()
    }
}
