//! `FastPose`: ResNet-50 with squeeze and excitation, and layers that shuffle channels to pixels.
//!
//! Sources: Fang et al., "AlphaPose: Whole-Body Regional Multi-Person Pose Estimation and Tracking in Real-Time"
//! (arXiv 2211.03375), as its authors publish it (`fast_res50_256x192`); Shi et al., "Real-Time Single Image and
//! Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network" (arXiv 1609.05158).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::heat_map::Spacing;
use crate::kernels::Activation;
use crate::layers::{Convolution, Layer, shuffle_pixels};
use crate::networks::resnet::{self, ResNet50};
use crate::networks::top_down::{HeatMapNetwork, TopDown, Training};
use crate::networks::{PoseNetwork, same_name};
use crate::pictures::{Normalisation, Order};
use crate::pose_estimator::N_KEYPOINTS;
use crate::weights::{LayerReader, Weights, WeightsError};

const TRAINING: Training = Training {
    pixels: [256, 192],
    normalisation: Normalisation {
        order: Order::RedGreenBlue,
        mean: [0.406 * 255.0, 0.457 * 255.0, 0.480 * 255.0],
        deviation: [255.0; 3],
    },
    spacing: Spacing::Edges,
};

/// `FastPose` with ResNet-50 for 256 rows and 192 columns.
pub(super) const FAST_POSE: PoseNetwork = PoseNetwork {
    name: "fastpose-resnet50",
    weights: "fastpose-resnet50",
    load: |weights, device| {
        let network = FastPose::load(weights, device)?;
        Ok(Box::new(TopDown { network, training: TRAINING, mirror: false }))
    },
    node_name: same_name,
};

#[derive(Module, Debug)]
struct FastPose {
    body: ResNet50,
    /// Each makes channels that are shuffled to pixels.
    widen: [Convolution; 2],
    heat_maps: Convolution,
}

impl FastPose {
    fn load(weights: &mut dyn Weights, device: &Device) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        let body = ResNet50::load(from, true)?;
        let mut widen = |name: &str, inputs: usize, outputs: usize| {
            from.layer(name, Layer::dense(inputs, outputs, 3, 1).then(Activation::Relu))
        };
        let widen =
            [widen("duc1.conv", resnet::CHANNELS / 4, 1024)?, widen("duc2.conv", 1024 / 4, 512)?];
        let heat_maps = from.layer("conv_out", Layer::dense(512 / 4, N_KEYPOINTS, 3, 1))?;
        Ok(Self { body, widen, heat_maps })
    }
}

impl HeatMapNetwork for FastPose {
    fn device(&self) -> Device {
        self.body.device()
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let map = shuffle_pixels(self.body.forward(pictures));
        let widen = self.widen.iter();
        let map = widen.fold(map, |map, layer| shuffle_pixels(layer.forward(map)));
        self.heat_maps.forward(map)
    }
}
