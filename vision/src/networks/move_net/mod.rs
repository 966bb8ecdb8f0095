//! MoveNet, single pose: a MobileNetV2 with a feature pyramid and four heads, as CenterNet has them.
//!
//! Lightning has 192 pixels a side, Thunder 256 and 1.75 times the channels.
//! Source: Votel and Li, "Next-Generation Pose Detection with MoveNet and TensorFlow.js" (TensorFlow blog, 2021);
//! Sandler et al., "MobileNetV2" (arXiv 1801.04381).

mod cells;
mod network;
mod node_name;
mod part;

use burn::tensor::Device;

use self::cells::Cells;
use self::network::MoveNet;
use self::node_name::node_name;
use self::part::Part;
use crate::kernels::buffer;
use crate::layers::{tensor, values};
use crate::networks::PoseNetwork;
use crate::pose_estimator::{Pose, PoseEstimator, Subject};
use crate::weights::{Weights, WeightsError};

/// MoveNet Lightning.
pub(super) const LIGHTNING: PoseNetwork = PoseNetwork {
    name: "movenet-lightning",
    weights: "movenet-lightning",
    load: |weights, device| Ok(Box::new(Estimator::load(Variant::Lightning, weights, device)?)),
    node_name,
};

/// MoveNet Thunder.
pub(super) const THUNDER: PoseNetwork = PoseNetwork {
    name: "movenet-thunder",
    weights: "movenet-thunder",
    load: |weights, device| Ok(Box::new(Estimator::load(Variant::Thunder, weights, device)?)),
    node_name,
};

/// The variants that are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// The small one.
    Lightning,
    /// The accurate one.
    Thunder,
}

impl Variant {
    /// Side of the input.
    fn side(self) -> usize {
        match self {
            Self::Lightning => 192,
            Self::Thunder => 256,
        }
    }

    /// Returns the channels for a number at width 1: a multiple of eight, and not much fewer.
    fn channels(self, at_width_1: usize) -> usize {
        match self {
            Self::Lightning => at_width_1,
            Self::Thunder => (at_width_1 * 7 / 4 + 4) / 8 * 8,
        }
    }
}

/// The network with its variant.
#[derive(Debug)]
struct Estimator {
    network: MoveNet,
    variant: Variant,
}

impl Estimator {
    fn load(
        variant: Variant,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        Ok(Self { network: MoveNet::load(variant, weights, device)?, variant })
    }
}

impl PoseEstimator for Estimator {
    fn estimate(&self, subjects: &[Subject<'_>]) -> Vec<Pose> {
        let side = self.variant.side();
        let mut input = buffer(subjects.len() * side * side * 3);
        let parts = input.chunks_exact_mut(side * side * 3);
        let parts: Vec<_> =
            parts.zip(subjects).map(|(part, subject)| Part::write(subject, side, part)).collect();
        let input = tensor(input, [subjects.len(), side, side, 3], &self.network.device());
        let output = self.network.forward(input);
        let cells = side / 4;
        let maps = [output.centre, output.heat_map, output.regression, output.offset].map(values);
        let pose = |(nth, part): (usize, &Part)| {
            let of_person = |map: usize| {
                let len = maps[map].len() / subjects.len();
                &maps[map][nth * len..][..len]
            };
            let maps = Cells {
                side: cells,
                centre: of_person(0),
                heat_map: of_person(1),
                regression: of_person(2),
                offset: of_person(3),
            };
            maps.pose(part)
        };
        parts.iter().enumerate().map(pose).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::peer::assert_equal_outputs;

    #[test]
    #[ignore = "needs weights and ONNX Runtime: `make test` runs it where they are"]
    fn outputs_equal_those_of_onnx_runtime() {
        for (file, variant) in [
            ("movenet-lightning.heads.onnx", Variant::Lightning),
            ("movenet-thunder.heads.onnx", Variant::Thunder),
        ] {
            assert_equal_outputs(file, [variant.side(); 2], 1.0, |weights, device, input| {
                let network =
                    MoveNet::load(variant, weights, device).expect("weights of the network");
                let output = network.forward(input);
                let maps = [output.centre, output.heat_map, output.regression, output.offset];
                maps.map(values).concat()
            });
        }
    }
}
