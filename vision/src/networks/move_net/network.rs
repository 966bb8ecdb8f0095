//! MoveNet's layers: MobileNetV2, a feature pyramid, and four heads.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Variant;
use crate::kernels::{Activation, Corners};
use crate::layers::{Convolution, Layer, Separable, resize};
use crate::pose_estimator::N_KEYPOINTS;
use crate::weights::{LayerReader, Weights, WeightsError};

/// The stages of MobileNetV2: expansion, channels at width 1, blocks, stride.
pub(super) const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];
/// Channels at the end of the backbone, in every variant.
const LAST_CHANNELS: usize = 1280;
/// Stages whose outputs the feature pyramid uses, each with half the size of the one before.
const LATERAL_STAGES: [usize; 3] = [1, 2, 3];
/// Channels of the feature pyramid at the outputs of these stages, in every variant.
const PYRAMID_CHANNELS: [usize; 3] = [24, 32, 64];

/// The network.
#[derive(Module, Debug)]
pub(super) struct MoveNet {
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    last: Convolution,
    /// From the smallest map to the largest.
    pyramid: Vec<Level>,
    reduce: Convolution,
    heads: Heads,
}

/// The output of the network, `[batch, side / 4, side / 4, n]` each.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Probability that the pixel is the centre of a person, n = 1.
    pub(super) centre: Tensor<4>,
    /// Probability of each keypoint, n = 17.
    pub(super) heat_map: Tensor<4>,
    /// From the centre of a person to the keypoints: down and right, n = 2 * 17.
    pub(super) regression: Tensor<4>,
    /// From the pixel to the keypoint in it: down and right, n = 2 * 17.
    pub(super) offset: Tensor<4>,
}

impl MoveNet {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    pub(super) fn load(
        variant: Variant,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        let stem = Layer::dense(3, variant.channels(32), 3, 2).padded_after();
        let stem = from.layer("stem", stem.then(Activation::Relu6))?;
        let mut channels = variant.channels(32);
        let (mut stages, mut laterals) = (Vec::new(), Vec::new());
        for (stage, (expansion, width_1, blocks, stride)) in STAGES.into_iter().enumerate() {
            let outputs = variant.channels(width_1);
            let mut stage_blocks = Vec::new();
            for nth in 0..blocks {
                let name = format!("stages.{stage}.{nth}");
                let stride = if nth == 0 { stride } else { 1 };
                stage_blocks.push(Block::load(
                    from,
                    &name,
                    [channels, outputs],
                    expansion,
                    stride,
                )?);
                channels = outputs;
            }
            if LATERAL_STAGES.contains(&stage) {
                let lateral = Layer::pointwise(channels, PYRAMID_CHANNELS[laterals.len()]);
                laterals.push(from.layer(&format!("laterals.{stage}"), lateral)?);
            }
            stages.push(stage_blocks);
        }
        let last = Layer::pointwise(channels, LAST_CHANNELS).then(Activation::Relu6);
        let last = from.layer("last", last)?;
        let reduce = Layer::pointwise(LAST_CHANNELS, PYRAMID_CHANNELS[2]);
        let reduce = from.layer("reduce", reduce)?;
        let mut pyramid = Vec::new();
        for (nth, lateral) in laterals.into_iter().enumerate().rev() {
            let (inputs, outputs) =
                (PYRAMID_CHANNELS[nth], PYRAMID_CHANNELS[nth.saturating_sub(1)]);
            pyramid.push(Level::load(from, &format!("pyramid.{nth}"), lateral, inputs, outputs)?);
        }
        let heads = Heads::load(from, PYRAMID_CHANNELS[0])?;
        Ok(Self { stem, stages, last, pyramid, reduce, heads })
    }

    /// Returns the device of the weights.
    pub(super) fn device(&self) -> Device {
        self.stem.device()
    }

    /// # Shapes
    ///
    /// - pictures: `[batch, side, side, 3]`, red, green and blue from -1 to 1
    /// - output: see [`Output`]
    pub(super) fn forward(&self, pictures: Tensor<4>) -> Output {
        let mut map = self.stem.forward(pictures);
        let mut laterals = Vec::new();
        for (stage, blocks) in self.stages.iter().enumerate() {
            map = blocks.iter().fold(map, |map, block| block.forward(map));
            if LATERAL_STAGES.contains(&stage) {
                laterals.push(map.clone());
            }
        }
        let mut map = self.reduce.forward(self.last.forward(map));
        for (level, lateral) in self.pyramid.iter().zip(laterals.into_iter().rev()) {
            map = level.forward(map, lateral);
        }
        self.heads.forward(&map)
    }
}

/// MobileNetV2's inverted residual block.
#[derive(Module, Debug)]
struct Block {
    expand: Option<Convolution>,
    project: Separable,
    residual: bool,
}

impl Block {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        expansion: usize,
        stride: usize,
    ) -> Result<Self, WeightsError> {
        let inner = inputs * expansion;
        let expand = Layer::pointwise(inputs, inner).then(Activation::Relu6);
        let expand = (expansion > 1).then(|| from.layer(&format!("{name}.expand"), expand));
        let depthwise = Layer::depthwise(inner, stride).padded_after().then(Activation::Relu6);
        let project = Separable {
            depthwise: from.layer(&format!("{name}.depthwise"), depthwise)?,
            pointwise: from.layer(&format!("{name}.project"), Layer::pointwise(inner, outputs))?,
        };
        Ok(Self {
            expand: expand.transpose()?,
            project,
            residual: stride == 1 && inputs == outputs,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let output = match &self.expand {
            Some(expand) => self.project.forward_after(expand, map.clone()),
            None => self.project.forward(map.clone()),
        };
        if self.residual { output + map } else { output }
    }
}

/// A level of the feature pyramid.
#[derive(Module, Debug)]
struct Level {
    lateral: Convolution,
    blend: Separable,
}

impl Level {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        lateral: Convolution,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, WeightsError> {
        let activations = [Activation::Linear, Activation::Relu];
        Ok(Self { lateral, blend: from.separable(name, [inputs, outputs], 1, activations)? })
    }

    fn forward(&self, smaller: Tensor<4>, lateral: Tensor<4>) -> Tensor<4> {
        let [_, rows, columns, _] = lateral.dims();
        let larger = resize(smaller, [rows, columns], Corners::HalfPixel);
        let map = larger + self.lateral.forward(lateral);
        self.blend.forward(map)
    }
}

/// The four heads.
#[derive(Module, Debug)]
struct Heads {
    offset: Head,
    regression: Head,
    heat_map: Head,
    centre: Head,
}

impl Heads {
    fn load(from: &mut LayerReader<'_>, inputs: usize) -> Result<Self, WeightsError> {
        let probability = Activation::Sigmoid;
        let lengths = 2 * N_KEYPOINTS;
        Ok(Self {
            offset: Head::load(from, "heads.offset", [inputs, lengths], Activation::Linear)?,
            regression: Head::load(
                from,
                "heads.regression",
                [inputs, lengths],
                Activation::Linear,
            )?,
            heat_map: Head::load(from, "heads.heat_map", [inputs, N_KEYPOINTS], probability)?,
            centre: Head::load(from, "heads.centre", [inputs, 1], probability)?,
        })
    }

    fn forward(&self, map: &Tensor<4>) -> Output {
        Output {
            centre: self.centre.forward(map.clone()),
            heat_map: self.heat_map.forward(map.clone()),
            regression: self.regression.forward(map.clone()),
            offset: self.offset.forward(map.clone()),
        }
    }
}

/// A head: a separable layer and a pointwise one.
#[derive(Module, Debug)]
struct Head {
    widen: Separable,
    output: Convolution,
}

impl Head {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
    ) -> Result<Self, WeightsError> {
        let widen = Layer::pointwise(inputs, 96).then(Activation::Relu);
        let output = Layer::pointwise(96, outputs).then(activation);
        let widen = Separable {
            depthwise: from.layer(&format!("{name}.depthwise"), Layer::depthwise(inputs, 1))?,
            pointwise: from.layer(&format!("{name}.widen"), widen)?,
        };
        Ok(Self { widen, output: from.layer(&format!("{name}.output"), output)? })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.output.forward(self.widen.forward(map))
    }
}
