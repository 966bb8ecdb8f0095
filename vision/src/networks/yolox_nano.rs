//! YOLOX-nano, a detector of 80 kinds of objects without anchors.
//!
//! Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), depth 0.33, width 0.25, with
//! depthwise convolutions.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::detector::{Detection, Detector, GridDetector, Letterbox};
use crate::kernels::{Activation, Filter};
use crate::layers::{Convolution, Layer, Separable, add, join, max_pool};
use crate::networks::{DetectorNetwork, same_name};
use crate::pictures::{Normalisation, Order, Picture, Rectangle};
use crate::weights::{LayerReader, Weights, WeightsError};

/// Both layers of a separable one end with SiLU.
const SILU: [Activation; 2] = [Activation::Silu; 2];

const DETECTOR: GridDetector = GridDetector {
    // What is left of the square is grey.
    input: Letterbox { side: 416, rest: 114.0 },
    normalisation: Normalisation {
        order: Order::BlueGreenRed,
        mean: [0.0; 3],
        deviation: [1.0; 3],
    },
    person,
    same_person: 0.45,
};

/// YOLOX-nano.
pub(super) const YOLOX_NANO: DetectorNetwork = DetectorNetwork {
    name: "yolox-nano",
    weights: "yolox-nano",
    load: |weights, device| Ok(Box::new(YoloxNano::load(weights, device)?)),
    node_name: same_name,
};

/// The network.
#[derive(Module, Debug)]
struct YoloxNano {
    stem: Convolution,
    dark2: Stage,
    dark3: Stage,
    dark4: Stage,
    dark5: LastStage,
    lateral: Convolution,
    down4: CrossStage,
    reduce3: Convolution,
    down3: CrossStage,
    up3: Separable,
    up4: CrossStage,
    up4_to_5: Separable,
    up5: CrossStage,
    heads: [Head; 3],
}

impl YoloxNano {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    fn load(weights: &mut dyn Weights, device: &Device) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        // A filter of 6x6 with stride 2 equals the published focus with a filter of 3x3.
        let filter = Filter { size: 6, stride: 2, padding: 2, padding_after: 2 };
        let stem = Layer { filter, ..Layer::pointwise(3, 16) }.then(Activation::Silu);
        Ok(Self {
            stem: from.rearranged("stem", [16, 12, 3, 3], without_focus, stem)?,
            dark2: Stage::load(from, "dark2", 16, 32, 1)?,
            dark3: Stage::load(from, "dark3", 32, 64, 3)?,
            dark4: Stage::load(from, "dark4", 64, 128, 3)?,
            dark5: LastStage::load(from, "dark5")?,
            lateral: from.silu("lateral", 256, 128)?,
            down4: CrossStage::load(from, "down4", 256, 128, 1, false)?,
            reduce3: from.silu("reduce3", 128, 64)?,
            down3: CrossStage::load(from, "down3", 128, 64, 1, false)?,
            up3: from.separable("up3", [64, 64], 2, SILU)?,
            up4: CrossStage::load(from, "up4", 128, 128, 1, false)?,
            up4_to_5: from.separable("up4_to_5", [128, 128], 2, SILU)?,
            up5: CrossStage::load(from, "up5", 256, 256, 1, false)?,
            heads: [
                Head::load(from, "heads.0", 64)?,
                Head::load(from, "heads.1", 128)?,
                Head::load(from, "heads.2", 256)?,
            ],
        })
    }

    /// # Shapes
    ///
    /// - pictures: `[batch, 416, 416, 3]`, blue, green and red from 0 to 255
    /// - output: the cells of 8, 16 and 32 pixels, each `[batch, rows, columns, 85]`: centre and size of the box
    ///   in units of the cell (the size as a logarithm), and probabilities
    fn forward(&self, pictures: Tensor<4>) -> [Tensor<4>; 3] {
        let dark2 = self.dark2.forward(self.stem.forward(pictures));
        let dark3 = self.dark3.forward(dark2);
        let dark4 = self.dark4.forward(dark3.clone());
        let dark5 = self.dark5.forward(dark4.clone());
        let lateral = self.lateral.forward(dark5);
        let down4 = self.down4.forward(join(lateral.clone(), dark4));
        let reduced = self.reduce3.forward(down4);
        let down3 = self.down3.forward(join(reduced.clone(), dark3));
        let up4 = self.up4.forward(join(self.up3.forward(down3.clone()), reduced));
        let up5 = self.up5.forward(join(self.up4_to_5.forward(up4.clone()), lateral));
        let [fine, middle, coarse] = &self.heads;
        [fine.forward(down3), middle.forward(up4), coarse.forward(up5)]
    }
}

impl Detector for YoloxNano {
    fn detect(&self, pictures: &[Picture<'_>], confidence: f32) -> Vec<Vec<Detection>> {
        let device = self.stem.device();
        DETECTOR.detect(pictures, confidence, &device, |input| self.forward(input))
    }
}

/// Returns the weights of the stem for a whole picture. The published stem reads a picture of half the size with four
/// times the channels (the focus), in the order top left, bottom left, top right, bottom right of each square.
///
/// # Shapes
///
/// - weight: `[outputs, 4 * 3, 3, 3]`
/// - result: `[outputs, 3, 6, 6]`
fn without_focus(weight: &[f32]) -> Vec<f32> {
    let mut result = Vec::with_capacity(weight.len());
    for filters in weight.chunks_exact(12 * 9) {
        for nth in 0..3 * 36 {
            let (colour, row, column) = (nth / 36, nth / 6 % 6, nth % 6);
            let channel = (column % 2 * 2 + row % 2) * 3 + colour;
            result.push(filters[channel * 9 + row / 2 * 3 + column / 2]);
        }
    }
    result
}

/// Returns the person in a cell, in pixels of the square.
fn person(cell: &[f32], [x, y]: [f32; 2], cell_px: f32, least: f32) -> Option<Detection> {
    const KINDS: usize = 5;
    const PERSON: usize = KINDS;
    let confidence = cell[4] * cell[PERSON];
    let is_person = cell[KINDS..].iter().all(|kind| *kind <= cell[PERSON]);
    (is_person && confidence >= least).then(|| {
        let [width, height] = [cell[2].exp() * cell_px, cell[3].exp() * cell_px];
        let (centre_x, centre_y) = ((cell[0] + x) * cell_px, (cell[1] + y) * cell_px);
        let (x, y) = (centre_x - width / 2.0, centre_y - height / 2.0);
        Detection { rectangle: Rectangle { x, y, width, height }, confidence }
    })
}

/// A stage of the backbone: halves the size, then a cross-stage block.
#[derive(Module, Debug)]
struct Stage {
    halve: Separable,
    block: CrossStage,
}

impl Stage {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
        depth: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            halve: from.separable(&format!("{name}.halve"), [inputs, outputs], 2, SILU)?,
            block: CrossStage::load(from, &format!("{name}.block"), outputs, outputs, depth, true)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.block.forward(self.halve.forward(map))
    }
}

/// The last stage of the backbone, with spatial pyramid pooling.
#[derive(Module, Debug)]
struct LastStage {
    halve: Separable,
    before_pools: Convolution,
    after_pools: Convolution,
    block: CrossStage,
}

impl LastStage {
    fn load(from: &mut LayerReader<'_>, name: &str) -> Result<Self, WeightsError> {
        Ok(Self {
            halve: from.separable(&format!("{name}.halve"), [128, 256], 2, SILU)?,
            before_pools: from.silu(&format!("{name}.before_pools"), 256, 128)?,
            after_pools: from.silu(&format!("{name}.after_pools"), 512, 256)?,
            block: CrossStage::load(from, &format!("{name}.block"), 256, 256, 1, false)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.before_pools.forward(self.halve.forward(map));
        // A pool of 9 is a pool of 5 over a pool of 5.
        let pool = |map: &Tensor<4>| max_pool(map.clone(), Filter::same(5, 1));
        let pool5 = pool(&map);
        let pool9 = pool(&pool5);
        let pool13 = pool(&pool9);
        let pools = join(join(map, pool5), join(pool9, pool13));
        self.block.forward(self.after_pools.forward(pools))
    }
}

/// A cross-stage partial block: half of the channels pass some bottlenecks, and join the other half.
#[derive(Module, Debug)]
struct CrossStage {
    main: Convolution,
    side: Convolution,
    bottlenecks: Vec<Bottleneck>,
    join: Convolution,
}

impl CrossStage {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
        depth: usize,
        residual: bool,
    ) -> Result<Self, WeightsError> {
        let half = outputs / 2;
        Ok(Self {
            main: from.silu(&format!("{name}.main"), inputs, half)?,
            side: from.silu(&format!("{name}.side"), inputs, half)?,
            bottlenecks: (0..depth)
                .map(|nth| Bottleneck::load(from, &format!("{name}.{nth}"), half, residual))
                .collect::<Result<_, _>>()?,
            join: from.silu(&format!("{name}.join"), 2 * half, outputs)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let side = self.side.forward(map.clone());
        let mut main = self.main.forward(map);
        for bottleneck in &self.bottlenecks {
            main = bottleneck.forward(main);
        }
        self.join.forward(join(main, side))
    }
}

/// A pointwise layer and a separable one, around which the input is added if it is residual.
#[derive(Module, Debug)]
struct Bottleneck {
    first: Convolution,
    second: Separable,
    residual: bool,
}

impl Bottleneck {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        channels: usize,
        residual: bool,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            first: from.silu(&format!("{name}.first"), channels, channels)?,
            second: from.separable(&format!("{name}.second"), [channels, channels], 1, SILU)?,
            residual,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let output = self.second.forward_after(&self.first, map.clone());
        if self.residual { add(output, map) } else { output }
    }
}

/// The branches that say what is in a cell, and where.
#[derive(Module, Debug)]
struct Head {
    stem: Convolution,
    kinds: [Separable; 2],
    kind: Convolution,
    boxes: [Separable; 2],
    bounds: Convolution,
    object: Convolution,
}

impl Head {
    fn load(from: &mut LayerReader<'_>, name: &str, inputs: usize) -> Result<Self, WeightsError> {
        let layer = |outputs| Layer::pointwise(64, outputs);
        let probability = |outputs| layer(outputs).then(Activation::Sigmoid);
        let branch = |from: &mut LayerReader<'_>, branch: &str| {
            Ok([
                from.separable(&format!("{name}.{branch}.0"), [64, 64], 1, SILU)?,
                from.separable(&format!("{name}.{branch}.1"), [64, 64], 1, SILU)?,
            ])
        };
        Ok(Self {
            stem: from.silu(&format!("{name}.stem"), inputs, 64)?,
            kinds: branch(from, "kinds")?,
            kind: from.layer(&format!("{name}.kind"), probability(80))?,
            boxes: branch(from, "boxes")?,
            bounds: from.layer(&format!("{name}.bounds"), layer(4))?,
            object: from.layer(&format!("{name}.object"), probability(1))?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.stem.forward(map);
        let branch = |[first, second]: &[Separable; 2], map| second.forward(first.forward(map));
        let (kinds, boxes) = (branch(&self.kinds, map.clone()), branch(&self.boxes, map));
        let (bounds, object) = (self.bounds.forward(boxes.clone()), self.object.forward(boxes));
        join(join(bounds, object), self.kind.forward(kinds))
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
        assert_equal_outputs("yolox_nano.onnx", [416; 2], 255.0, |weights, device, input| {
            let network = YoloxNano::load(weights, device).expect("weights of the network");
            network.forward(input).map(values).concat()
        });
    }
}
