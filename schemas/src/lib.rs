//! The records that flow through Fresnel, their units and spaces, and their Arrow and JSON forms.
//!
//! All other crates use these types. A record keeps its exact capture time in nanoseconds since the Unix
//! epoch; the sources derive the dataflow's own [`Tick`] from it.

mod activity;
mod csi;
mod error_chain;
mod event;
mod geometry;
mod hash;
mod occupancy;
mod pose;
mod presence;
mod progress;
mod record;
mod rows;
mod source_kind;
mod table;
mod tick;
mod time_span;
mod video;

pub use crate::activity::{Activity, ActivityWindow};
pub use crate::csi::{CsiBatch, CsiFrame, CsiLayout, LayoutMismatch, Link, flat_complex};
pub use crate::error_chain::{error_and_causes, error_chain};
pub use crate::event::{Event, EventId, EventType};
pub use crate::geometry::{ReceiverGeometry, SPEED_OF_LIGHT_M_S, SUBCARRIER_HZ, SiteGeometry};
pub use crate::hash::{stable_hash, stable_hash_bytes};
pub use crate::occupancy::ZoneOccupancy;
pub use crate::pose::{
    BoundingBox, Estimator, EstimatorKind, KEYPOINT_NAMES, Keypoint, N_KEYPOINTS, Person,
    PoseFrame, SitePosition,
};
pub use crate::presence::{CalibrationState, Motion, Presence, PresenceState};
pub use crate::progress::Progress;
pub use crate::record::{OrderKey, Record, RecordKind, RecordType};
pub use crate::rows::Rows;
pub use crate::source_kind::SourceKind;
pub use crate::table::{
    TableError, frames_schema, frames_to_batch, from_batch, table_of_stream, to_batch,
};
pub use crate::tick::{Granule, Tick, TickLength};
pub use crate::time_span::TimeSpan;
pub use crate::video::VideoFrame;
