//! Pose frames that something else has made.

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
    /// As JSON.
    #[default]
    Json,
    /// As Avro, each in a message of its own, behind a zero byte and the number of its schema.
    Avro {
        /// URL of the schema registry, which speaks Confluent's API.
        registry: String,
    },
}
