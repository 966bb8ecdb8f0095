//! NanoDet-g, a detector of 80 kinds of objects made of plain 3x3 layers.
//!
//! Source: RangiLyu, NanoDet (github.com/RangiLyu/nanodet), `nanodet-g`: a CSP backbone, a path aggregation network
//! without layers of its own, and heads with generalised focal loss (Li et al., arXiv 2006.04388).

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use crate::detector::{Detection, Detector, GridDetector, Letterbox};
use crate::kernels::{Activation, Corners, Filter};
use crate::layers::{Convolution, Layer, join, max_pool, resize};
use crate::networks::DetectorNetwork;
use crate::pictures::{Normalisation, Order, Picture, Rectangle};
use crate::weights::{LayerReader, Weights, WeightsError};

/// Blue, green and red are normalised with these.
const MEAN: [f32; 3] = [103.53, 116.28, 123.675];
const DEVIATION: [f32; 3] = [57.375, 57.12, 58.395];
/// Kinds of objects; the first one is the person.
const KINDS: usize = 80;
/// Steps of the distribution of a distance, 0 to 10 cells.
const STEPS: usize = 11;

const DETECTOR: GridDetector = GridDetector {
    // What is left of the square is black.
    input: Letterbox { side: 416, rest: 0.0 },
    normalisation: Normalisation { order: Order::BlueGreenRed, mean: MEAN, deviation: DEVIATION },
    person,
    same_person: 0.6,
};

/// NanoDet-g.
pub(super) const NANO_DET_G: DetectorNetwork = DetectorNetwork {
    name: "nanodet-g",
    weights: "nanodet-g",
    load: |weights, device| Ok(Box::new(NanoDet::load(weights, device)?)),
    node_name,
};

/// Returns the name of a layer in the TensorFlow.js model, where convolutions are numbered: the backbone, the
/// laterals from the largest map to the smallest, then the heads.
fn node_name(layer: &str) -> String {
    const TINY: [&str; 2] = ["first", "second"];
    let part = |nth: usize| layer.split('.').nth(nth).unwrap_or_default();
    let number = |nth: usize| part(nth).parse::<usize>().unwrap_or_default();
    let in_block = |last: &str| TINY.iter().position(|name| *name == last).unwrap_or_default();
    let nth = match (part(0), part(2)) {
        ("stem", _) => 0,
        ("first", "") => {
            if part(1) == "before" {
                1
            } else {
                4
            }
        }
        ("first", last) => 2 + in_block(last),
        ("stages", last) => {
            let first = [5, 11, 17][number(1).min(2)];
            match (last, part(3)) {
                ("halve", _) => first,
                (_, "after") => first + [5, 5, 7][number(1).min(2)],
                _ => first + 1 + 2 * number(3) + in_block(part(4)),
            }
        }
        ("laterals", _) => 27 - number(1),
        (_, last) => 28 + 2 * (2 - number(1).min(2)) + usize::from(last == "output"),
    };
    if nth == 0 { "convolution".to_owned() } else { format!("convolution_{nth}") }
}

/// The network.
#[derive(Module, Debug)]
struct NanoDet {
    stem: Convolution,
    first: CrossStage,
    stages: Vec<Stage>,
    laterals: Vec<Convolution>,
    heads: Vec<Head>,
}

impl NanoDet {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    fn load(weights: &mut dyn Weights, device: &Device) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        let stem = layer(from, "stem", 3, 32, 2)?;
        let first = CrossStage::load(from, "first", 32, 1)?;
        let mut stages = Vec::new();
        for (nth, (channels, blocks)) in [(64, 2), (128, 2), (256, 3)].into_iter().enumerate() {
            stages.push(Stage::load(from, &format!("stages.{nth}"), channels, blocks)?);
        }
        let (mut laterals, mut heads) = (Vec::new(), Vec::new());
        for (nth, channels) in [512, 256, 128].into_iter().enumerate() {
            laterals.push(from.layer(&format!("laterals.{nth}"), Layer::pointwise(channels, 128))?);
        }
        for nth in 0..3 {
            heads.push(Head::load(from, &format!("heads.{nth}"))?);
        }
        Ok(Self { stem, first, stages, laterals, heads })
    }

    /// # Shapes
    ///
    /// - pictures: `[batch, 416, 416, 3]`, blue, green and red, normalised
    /// - output: the cells of 8, 16 and 32 pixels, each `[batch, rows, columns, 80 + 4 * 11]`: the probabilities
    ///   of the kinds, then for the left, top, right and bottom edge the logarithm of how likely each distance is
    fn forward(&self, pictures: Tensor<4>) -> [Tensor<4>; 3] {
        let stem = max_pool(self.stem.forward(pictures), Filter::same(3, 2));
        let mut map = self.first.forward(stem);
        let mut levels = Vec::new();
        for (stage, lateral) in self.stages.iter().zip(self.laterals.iter().rev()) {
            map = stage.forward(map);
            levels.push(lateral.forward(map.clone()));
        }
        for nth in (0..2).rev() {
            levels[nth] = levels[nth].clone() + resized(&levels[nth + 1], &levels[nth]);
        }
        for nth in 1..3 {
            levels[nth] = levels[nth].clone() + resized(&levels[nth - 1], &levels[nth]);
        }
        let output = |nth: usize| self.heads[2 - nth].forward(levels[nth].clone());
        [output(0), output(1), output(2)]
    }
}

impl Detector for NanoDet {
    fn detect(&self, pictures: &[Picture<'_>], confidence: f32) -> Vec<Vec<Detection>> {
        let device = self.stem.device();
        DETECTOR.detect(pictures, confidence, &device, |input| self.forward(input))
    }
}

/// Returns the person in a cell, in pixels of the square.
fn person(cell: &[f32], [x, y]: [f32; 2], cell_px: f32, least: f32) -> Option<Detection> {
    (cell[0] >= least).then(|| {
        let (x, y) = (x + 0.5, y + 0.5);
        let edge = |nth: usize| mean_distance(&cell[KINDS + nth * STEPS..][..STEPS]);
        let [left, top, right, bottom] = [0, 1, 2, 3].map(edge);
        let rectangle = Rectangle {
            x: (x - left) * cell_px,
            y: (y - top) * cell_px,
            width: (left + right) * cell_px,
            height: (top + bottom) * cell_px,
        };
        Detection { rectangle, confidence: cell[0] }
    })
}

/// Returns the mean of a distribution over the steps, given as logarithms.
fn mean_distance(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (step, logit) in logits.iter().enumerate() {
        let likely = (logit - highest).exp();
        sum += likely;
        weighted += likely * step as f32;
    }
    weighted / sum
}

fn resized(map: &Tensor<4>, like: &Tensor<4>) -> Tensor<4> {
    let [_, rows, columns, _] = like.dims();
    resize(map.clone(), [rows, columns], Corners::HalfPixel)
}

fn layer(
    from: &mut LayerReader<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
    stride: usize,
) -> Result<Convolution, WeightsError> {
    from.layer(name, Layer::dense(inputs, outputs, 3, stride).then(Activation::LeakyRelu))
}

/// A stage of the backbone: halves the size, then a cross-stage block.
#[derive(Module, Debug)]
struct Stage {
    halve: Convolution,
    block: CrossStage,
}

impl Stage {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        channels: usize,
        blocks: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            halve: layer(from, &format!("{name}.halve"), channels, channels, 2)?,
            block: CrossStage::load(from, &format!("{name}.block"), channels, blocks)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.block.forward(self.halve.forward(map))
    }
}

/// Tiny blocks one after the other, whose result joins their input.
#[derive(Module, Debug)]
struct CrossStage {
    before: Option<Convolution>,
    blocks: Vec<TinyBlock>,
    after: Convolution,
}

impl CrossStage {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        channels: usize,
        blocks: usize,
    ) -> Result<Self, WeightsError> {
        let before = (blocks == 1)
            .then(|| layer(from, &format!("{name}.before"), channels, channels, 1))
            .transpose()?;
        let block = |nth| TinyBlock::load(from, &format!("{name}.{nth}"), channels);
        let blocks = (0..blocks).map(block).collect::<Result<_, _>>()?;
        let after = layer(from, &format!("{name}.after"), channels, channels, 1)?;
        Ok(Self { before, blocks, after })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = match &self.before {
            Some(before) => before.forward(map),
            None => map,
        };
        let passed = self.blocks.iter().fold(map.clone(), |map, block| block.forward(map));
        join(self.after.forward(passed), map)
    }
}

/// A layer to half of the channels, and a second one over it; both are joined.
#[derive(Module, Debug)]
struct TinyBlock {
    first: Convolution,
    second: Convolution,
}

impl TinyBlock {
    fn load(from: &mut LayerReader<'_>, name: &str, channels: usize) -> Result<Self, WeightsError> {
        let half = channels / 2;
        Ok(Self {
            first: layer(from, &format!("{name}.first"), channels, half, 1)?,
            second: layer(from, &format!("{name}.second"), half, half, 1)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let first = self.first.forward(map);
        join(self.second.forward(first.clone()), first)
    }
}

/// A head: a layer, and the probabilities and distances of each cell.
#[derive(Module, Debug)]
struct Head {
    first: Convolution,
    output: Convolution,
}

impl Head {
    fn load(from: &mut LayerReader<'_>, name: &str) -> Result<Self, WeightsError> {
        let output = Layer::pointwise(128, KINDS + 4 * STEPS);
        Ok(Self {
            first: layer(from, &format!("{name}.first"), 128, 128, 1)?,
            output: from.layer(&format!("{name}.output"), output)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let output = self.output.forward(self.first.forward(map));
        let (kinds, distances) =
            (output.clone().narrow(3, 0, KINDS), output.narrow(3, KINDS, 4 * STEPS));
        join(sigmoid(kinds), distances)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::values;
    use crate::networks::peer::assert_equal_outputs;

    #[test]
    #[ignore = "needs weights and ONNX Runtime: `make test` runs it where they are"]
    fn outputs_equal_those_of_onnx_runtime() {
        let file = "nanodet-g_416.from-tfjs.onnx";
        assert_equal_outputs(file, [416; 2], 2.0, |weights, device, input| {
            let network = NanoDet::load(weights, device).expect("weights of the network");
            let levels = network.forward(input);
            // The file has the probabilities of all levels first.
            let part = |first, n| levels.clone().map(|level| values(level.narrow(3, first, n)));
            [part(0, KINDS), part(KINDS, 4 * STEPS)].as_flattened().concat()
        });
    }
}
