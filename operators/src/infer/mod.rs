//! Pose inference: a model with weights in a file converts the CSI of several receivers to people.
//!
//! The features use the known geometry of the radios: they focus what people change in each receiver's channel
//! on every cell of the floor. A small convolutional network then finds people in these pictures.

mod accuracy;
mod align;
mod beamforming;
mod decode;
mod empty_room;
mod features;
mod layout;
mod model;
mod network;
mod operator;
mod receiver;
mod subject;
mod train;

use std::path::PathBuf;

use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::settings::{DAY, Outputs, SHORTEST, Settings, outside};

pub use crate::infer::accuracy::Accuracy;
pub use crate::infer::empty_room::EmptyRoom;
pub use crate::infer::features::{Features, RecentFrames};
pub use crate::infer::layout::InputLayout;
pub use crate::infer::model::{Model, ModelCard};
pub use crate::infer::operator::InferPoses;
pub use crate::infer::subject::Subject;
pub use crate::infer::train::{Epoch, Sample, TrainOptions, train};

/// Settings of the `infer` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InferConfig {
    /// Path of the model: a safetensors file that `fresnel train` has written.
    pub model: PathBuf,
    /// Event time between frames of people, from "1ms" to "1day"; "100ms" by default.
    #[serde(default = "default_every")]
    pub every: TimeSpan,
}

impl Settings for InferConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        outside("every", self.every, &(SHORTEST..=DAY)).into_iter().collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("infer 3, {}", self.model.display()))
    }
}

fn default_every() -> TimeSpan {
    TimeSpan::from_ms(100)
}
