//! Simple Baselines: ResNet-50, and three layers that double rows and columns.
//!
//! Source: Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking" (arXiv 1804.06208), as `MMPose`
//! publishes it (`res50_coco_256x192`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::heat_map::Spacing;
use crate::kernels::Activation;
use crate::layers::{Convolution, Doubling, Layer};
use crate::networks::resnet::{self, ResNet50};
use crate::networks::top_down::{HeatMapNetwork, TopDown, Training};
use crate::networks::{PoseNetwork, same_name};
use crate::pictures::Normalisation;
use crate::pose_estimator::N_KEYPOINTS;
use crate::weights::{LayerReader, Weights, WeightsError};

/// Channels of the layers that double the size.
const CHANNELS: usize = 256;

const TRAINING: Training = Training {
    pixels: [256, 192],
    normalisation: Normalisation::IMAGE_NET,
    spacing: Spacing::Edges,
};

/// Simple Baselines with ResNet-50 for 256 rows and 192 columns.
pub(super) const SIMPLE_BASELINES: PoseNetwork = PoseNetwork {
    name: "simple-baselines-resnet50",
    weights: "simple-baselines-resnet50",
    load: |weights, device| {
        let network = SimpleBaselines::load(weights, device)?;
        Ok(Box::new(TopDown { network, training: TRAINING, mirror: false }))
    },
    node_name: same_name,
};

#[derive(Module, Debug)]
struct SimpleBaselines {
    body: ResNet50,
    doubling: Vec<Doubling>,
    heat_maps: Convolution,
}

impl SimpleBaselines {
    fn load(weights: &mut dyn Weights, device: &Device) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        let body = ResNet50::load(from, false)?;
        let mut doubling = Vec::new();
        for (nth, inputs) in [resnet::CHANNELS, CHANNELS, CHANNELS].into_iter().enumerate() {
            // Each layer is followed by a normalisation and an activation, which have numbers, too.
            let name = format!("deconv_layers.{}", 3 * nth);
            doubling.push(Doubling::load(from, &name, [inputs, CHANNELS], Activation::Relu)?);
        }
        let heat_maps = from.layer("final_layer", Layer::pointwise(CHANNELS, N_KEYPOINTS))?;
        Ok(Self { body, doubling, heat_maps })
    }
}

impl HeatMapNetwork for SimpleBaselines {
    fn device(&self) -> Device {
        self.body.device()
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let map = self.body.forward(pictures);
        self.heat_maps.forward(self.doubling.iter().fold(map, |map, layer| layer.forward(map)))
    }
}
