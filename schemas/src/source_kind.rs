//! The kind of source of a record: live, replayed or simulated.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The origin of the measurements behind a record.
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
pub enum SourceKind {
    /// Measured just now.
    #[default]
    Live,
    /// Measured earlier and read from a recording.
    Replay,
    /// Made by a simulator: nobody was there.
    Simulated,
}
