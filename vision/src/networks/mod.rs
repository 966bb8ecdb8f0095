//! The networks, one per file, and the names by which they are chosen.

mod fast_pose;
mod move_net;
mod nano_det;
#[cfg(test)]
mod peer;
mod resnet;
mod simple_baselines;
mod tiny_pose;
mod top_down;
mod yolox_nano;

use burn::tensor::Device;

use crate::detector::Detector;
use crate::pose_estimator::PoseEstimator;
use crate::weights::{Weights, WeightsError};

/// Reads a network.
pub type Load<N> = fn(&mut dyn Weights, &Device) -> Result<Box<N>, WeightsError>;

/// A network that detects people.
#[derive(Clone, Copy, Debug)]
pub struct DetectorNetwork {
    /// Its name in a pipeline file and on the command line.
    pub name: &'static str,
    /// The name of the model with its weights.
    pub weights: &'static str,
    /// Reads it.
    pub load: Load<dyn Detector>,
    /// The end of a layer's name in the TensorFlow.js model, given our name.
    pub node_name: fn(&str) -> String,
}

/// A network that estimates poses.
#[derive(Clone, Copy, Debug)]
pub struct PoseNetwork {
    /// Its name in a pipeline file and on the command line.
    pub name: &'static str,
    /// The name of the model with its weights.
    pub weights: &'static str,
    /// Reads it.
    pub load: Load<dyn PoseEstimator>,
    /// The end of a layer's name in the TensorFlow.js model, given our name.
    pub node_name: fn(&str) -> String,
}

/// All networks that detect people.
pub const DETECTORS: [DetectorNetwork; 2] = [nano_det::NANO_DET_G, yolox_nano::YOLOX_NANO];

/// All networks that estimate poses.
pub const POSE_ESTIMATORS: [PoseNetwork; 7] = [
    move_net::LIGHTNING,
    move_net::THUNDER,
    tiny_pose::TINY_POSE_128,
    tiny_pose::TINY_POSE_256,
    tiny_pose::TINY_POSE_256_MIRROR,
    simple_baselines::SIMPLE_BASELINES,
    fast_pose::FAST_POSE,
];

/// For networks that are not published for TensorFlow.js.
fn same_name(layer: &str) -> String {
    layer.to_owned()
}
