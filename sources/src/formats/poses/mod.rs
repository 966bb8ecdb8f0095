//! Pose frames from other programs.

mod avro;
mod json;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use crate::formats::poses::avro::AvroPoses;
pub(crate) use crate::formats::poses::json::JsonPoses;

/// The encoding of pose frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PoseFormat {
    /// JSON, one frame per line.
    #[default]
    Json,
    /// Avro, one frame per message, after a zero byte and the number of its schema.
    Avro {
        /// URL of the schema registry, which must support Confluent's API.
        registry: String,
    },
}
