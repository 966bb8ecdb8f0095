//! ResNet-50, the first part of networks that find keypoints; with squeeze and excitation, or without.
//!
//! Sources: He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); Hu et al.,
//! "Squeeze-and-Excitation Networks" (arXiv 1709.01507). Layers have the names that they have in torchvision.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::kernels::{Activation, Filter};
use crate::layers::{Convolution, Layer, max_pool};
use crate::weights::{LayerReader, WeightsError};

/// Blocks of each stage, and the channels inside them; the output has four times as many.
const STAGES: [(usize, usize); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];
/// Channels of the output.
pub(super) const CHANNELS: usize = 2048;

/// The network without its last layers.
#[derive(Module, Debug)]
pub(super) struct ResNet50 {
    first: Convolution,
    blocks: Vec<Block>,
}

impl ResNet50 {
    /// Reads the network. With `squeezes`, the first block of each stage has squeeze and excitation.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    pub(super) fn load(from: &mut LayerReader<'_>, squeezes: bool) -> Result<Self, WeightsError> {
        let first = from.layer("conv1", Layer::dense(3, 64, 7, 2).then(Activation::Relu))?;
        let mut blocks = Vec::new();
        let mut inputs = 64;
        for (stage, (n_blocks, channels)) in STAGES.into_iter().enumerate() {
            for nth in 0..n_blocks {
                let shape = BlockShape {
                    inputs,
                    channels,
                    stride: if stage > 0 && nth == 0 { 2 } else { 1 },
                    is_first: nth == 0,
                    squeezes: squeezes && nth == 0,
                };
                blocks.push(Block::load(from, &format!("layer{}.{nth}", stage + 1), shape)?);
                inputs = 4 * channels;
            }
        }
        Ok(Self { first, blocks })
    }

    pub(super) fn device(&self) -> Device {
        self.first.device()
    }

    /// # Shapes
    ///
    /// - pictures: `[batch, rows, columns, 3]`; rows and columns are multiples of 32
    /// - output: `[batch, rows / 32, columns / 32, 2048]`
    pub(super) fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let map = max_pool(self.first.forward(pictures), Filter::same(3, 2));
        self.blocks.iter().fold(map, |map, block| block.forward(map))
    }
}

#[derive(Clone, Copy, Debug)]
struct BlockShape {
    inputs: usize,
    channels: usize,
    stride: usize,
    is_first: bool,
    squeezes: bool,
}

/// Three layers whose output is added to their input.
#[derive(Module, Debug)]
struct Block {
    narrow: Convolution,
    filter: Convolution,
    widen: Convolution,
    squeeze: Option<Squeeze>,
    /// Gives the input the shape of the output.
    shortcut: Option<Convolution>,
}

impl Block {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        shape: BlockShape,
    ) -> Result<Self, WeightsError> {
        let BlockShape { inputs, channels, stride, is_first, squeezes } = shape;
        let outputs = 4 * channels;
        let relu = |layer: Layer| layer.then(Activation::Relu);
        let mut layer = |part: &str, layer| from.layer(&format!("{name}.{part}"), layer);
        Ok(Self {
            narrow: layer("conv1", relu(Layer::pointwise(inputs, channels)))?,
            filter: layer("conv2", relu(Layer::dense(channels, channels, 3, stride)))?,
            widen: layer("conv3", Layer::pointwise(channels, outputs))?,
            squeeze: squeezes.then(|| Squeeze::load(&mut layer, outputs)).transpose()?,
            shortcut: is_first
                .then(|| layer("downsample.0", Layer::dense(inputs, outputs, 1, stride)))
                .transpose()?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let passed = self.widen.forward(self.filter.forward(self.narrow.forward(map.clone())));
        let passed = match &self.squeeze {
            Some(squeeze) => squeeze.forward(passed),
            None => passed,
        };
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(map),
            None => map,
        };
        relu(passed + shortcut)
    }
}

/// Squeeze and excitation: the mean of each channel decides how much of it remains.
#[derive(Module, Debug)]
struct Squeeze {
    first: Convolution,
    second: Convolution,
}

impl Squeeze {
    fn load(
        layer: &mut impl FnMut(&str, Layer) -> Result<Convolution, WeightsError>,
        channels: usize,
    ) -> Result<Self, WeightsError> {
        let pointwise = Layer::pointwise(channels, channels);
        Ok(Self {
            first: layer("se.fc.0", pointwise.then(Activation::Relu))?,
            second: layer("se.fc.2", pointwise.then(Activation::Sigmoid))?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let means = map.clone().mean_dim(1).mean_dim(2);
        map * self.second.forward(self.first.forward(means))
    }
}
