//! Pose inference: CSI of several receivers becomes people, by a model whose weights are a file.
//!
//! The radio's geometry is used where it is known: each receiver's moving part of the channel is
//! focused on every cell of the floor, and a small convolutional network reads people off the picture.

mod accuracy;
mod align;
mod decode;
mod features;
mod model;
mod network;
mod operator;
mod subject;
mod train;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::infer::accuracy::Accuracy;
pub use crate::infer::features::{Features, InputLayout, RecentFrames};
pub use crate::infer::model::{Model, ModelCard};
pub use crate::infer::operator::InferPoses;
pub use crate::infer::subject::Subject;
pub use crate::infer::train::{Epoch, Sample, TrainOptions, train};

/// Settings of `infer`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InferConfig {
    /// The model: a safetensors file that `fresnel train` wrote.
    pub model: PathBuf,
    /// Seconds of event time from one frame of people to the next; 0.1 by default.
    #[serde(default = "default_every_s")]
    pub every_s: f64,
}

fn default_every_s() -> f64 {
    0.1
}
