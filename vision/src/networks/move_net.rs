//! MoveNet, single pose: a MobileNetV2 with a feature pyramid and four heads, as CenterNet has them.
//!
//! Lightning has 192 pixels a side, Thunder 256 and 1.75 times the channels.
//! Source: Votel and Li, "Next-Generation Pose Detection with MoveNet and TensorFlow.js" (TensorFlow blog, 2021);
//! Sandler et al., "MobileNetV2" (arXiv 1801.04381).

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::kernels::{Activation, Corners};
use crate::layers::{Convolution, Layer, resize, values};
use crate::networks::PoseNetwork;
use crate::pictures::{Axis, Border, sample};
use crate::pose_estimator::{Keypoint, N_KEYPOINTS, Pose, PoseEstimator, Subject};
use crate::weights::{LayerReader, Weights, WeightsError};

/// The part of a picture is this much larger than the person, and beyond `VISIBLE` times the person it is grey.
const MARGIN: f32 = 1.15;
const VISIBLE: f32 = 1.05;
const GREY: f32 = 114.0;
/// How fast a peak counts less, in cells from where it was expected.
const NEAR_CELLS: f32 = 1.8;
/// The stages of MobileNetV2: expansion, channels at width 1, blocks, stride.
const STAGES: [(usize, usize, usize, usize); 7] = [
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

/// Returns the end of a layer's name in the TensorFlow.js model.
fn node_name(layer: &str) -> String {
    let part = |nth: usize| layer.split('.').nth(nth).unwrap_or_default();
    let number = |nth: usize| part(nth).parse::<usize>().unwrap_or_default();
    match part(0) {
        "stem" => "Conv1_relu/Relu6".to_owned(),
        "stages" => {
            let before = STAGES.iter().take(number(1)).map(|stage| stage.2).sum::<usize>();
            let block = match before + number(2) {
                0 => "expanded_conv".to_owned(),
                nth => format!("block_{nth}"),
            };
            match part(3) {
                "expand" => format!("{block}_expand_relu/Relu6"),
                "depthwise" => format!("{block}_depthwise/depthwise"),
                _ => format!("{block}_project_BN/FusedBatchNormV3"),
            }
        }
        "laterals" => format!("model_1/conv2d_{}/BiasAdd", 4 - number(1)),
        "last" => "out_relu/Relu6".to_owned(),
        "reduce" => "model_1/conv2d/BiasAdd".to_owned(),
        "pyramid" => {
            let suffix = ["_2", "_1", ""][number(1).min(2)];
            match part(2) {
                "depthwise" => {
                    format!("model_1/separable_conv2d{suffix}/separable_conv2d/depthwise")
                }
                _ => format!("model_1/re_lu{suffix}/Relu"),
            }
        }
        _ => {
            let (head, nth) = match part(1) {
                "centre" => ("center_0", 3),
                "heat_map" => ("kpt_heatmap_0", 4),
                "regression" => ("kpt_regress_0", 5),
                _ => ("kpt_offset_0", 6),
            };
            match part(2) {
                "depthwise" => format!("{head}/separable_conv2d_{nth}/separable_conv2d/depthwise"),
                "widen" => format!("{head}/re_lu_{nth}/Relu"),
                _ => format!("{head}/conv2d_{}/BiasAdd", nth + 1),
            }
        }
    }
}

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

/// The network.
#[derive(Module, Debug)]
struct MoveNet {
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    last: Convolution,
    /// From the smallest map to the largest.
    pyramid: Vec<Level>,
    reduce: Convolution,
    heads: Heads,
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
        let mut input = vec![0.0; subjects.len() * side * side * 3];
        let parts = input.chunks_exact_mut(side * side * 3);
        let parts: Vec<_> =
            parts.zip(subjects).map(|(part, subject)| Part::write(subject, side, part)).collect();
        let data = TensorData::new(input, [subjects.len(), side, side, 3]);
        let output = self.network.forward(Tensor::from_data(data, &self.network.stem.device()));
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

/// The square of a picture that the network sees.
#[derive(Clone, Copy, Debug)]
struct Part {
    x: f32,
    y: f32,
    /// Pixels of the picture per cell.
    cell_px: f32,
    /// The cells that the person reaches: first and last column, first and last row.
    person: [f32; 4],
}

impl Part {
    /// Writes the square, from -1 to 1.
    fn write(subject: &Subject<'_>, side: usize, output: &mut [f32]) -> Self {
        let rectangle = subject.rectangle;
        let square = rectangle.with_aspect(1.0, MARGIN);
        let scale = square.width / side as f32;
        let axis = |start: f32| Axis { len: side, offset: start, scale };
        let border = Border::Constant(GREY);
        sample(subject.picture, axis(square.y), axis(square.x), border, output);
        let visible = rectangle.with_aspect(rectangle.width / rectangle.height, VISIBLE);
        let inside = |nth: usize, start: f32, from: f32, len: f32| {
            let place = start + nth as f32 * scale;
            (from..=from + len).contains(&place)
        };
        for (row, line) in output.chunks_exact_mut(side * 3).enumerate() {
            let row_inside = inside(row, square.y, visible.y, visible.height);
            for (column, pixel) in line.chunks_exact_mut(3).enumerate() {
                let visible = row_inside && inside(column, square.x, visible.x, visible.width);
                for value in pixel {
                    *value = if visible { *value } else { GREY } / 127.5 - 1.0;
                }
            }
        }
        let cell_px = scale * 4.0;
        let cell = |place: f32, start: f32| (place - start) / cell_px;
        let person = [
            cell(rectangle.x, square.x),
            cell(rectangle.x + rectangle.width, square.x),
            cell(rectangle.y, square.y),
            cell(rectangle.y + rectangle.height, square.y),
        ];
        Self { x: square.x, y: square.y, cell_px, person }
    }

    fn holds(&self, row: usize, column: usize) -> bool {
        let [left, right, top, bottom] = self.person;
        let (row, column) = (row as f32, column as f32);
        (left..=right).contains(&column) && (top..=bottom).contains(&row)
    }
}

/// The output for one person, `[side, side, n]` each.
#[derive(Clone, Copy, Debug)]
struct Cells<'a> {
    side: usize,
    centre: &'a [f32],
    heat_map: &'a [f32],
    regression: &'a [f32],
    offset: &'a [f32],
}

impl Cells<'_> {
    /// Returns each keypoint at the highest peak of its heat map near the place where the person's centre
    /// expects it.
    fn pose(&self, part: &Part) -> Pose {
        let middle = (self.side as f32 - 1.0) / 2.0;
        let centre = self.highest(self.centre, 1, 0, [middle, middle], |_, _| true);
        let mut pose = Pose::default();
        for (nth, keypoint) in pose.iter_mut().enumerate() {
            let pair = |map: &[f32], cell: [usize; 2]| {
                let at = ((cell[0] * self.side + cell[1]) * N_KEYPOINTS + nth) * 2;
                [cell[0] as f32 + map[at], cell[1] as f32 + map[at + 1]]
            };
            let expected = pair(self.regression, centre);
            let holds = |row, column| part.holds(row, column);
            let cell = self.highest(self.heat_map, N_KEYPOINTS, nth, expected, holds);
            let [row, column] = pair(self.offset, cell);
            *keypoint = Keypoint {
                x: part.x + column * part.cell_px,
                y: part.y + row * part.cell_px,
                confidence: self.heat_map[(cell[0] * self.side + cell[1]) * N_KEYPOINTS + nth],
            };
        }
        pose
    }

    /// Returns row and column of the highest value, weighed by the distance to `expected`.
    fn highest(
        &self,
        map: &[f32],
        channels: usize,
        channel: usize,
        expected: [f32; 2],
        counts: impl Fn(usize, usize) -> bool,
    ) -> [usize; 2] {
        let mut highest = ([0, 0], f32::NEG_INFINITY);
        for (nth, values) in map.chunks_exact(channels).enumerate() {
            let cell = [nth / self.side, nth % self.side];
            let away = (cell[0] as f32 - expected[0]).hypot(cell[1] as f32 - expected[1]);
            let value = values[channel] / (away + NEAR_CELLS);
            if value > highest.1 && counts(cell[0], cell[1]) {
                highest = (cell, value);
            }
        }
        highest.0
    }
}

/// The output of the network, `[batch, side / 4, side / 4, n]` each.
#[derive(Clone, Debug)]
struct Output {
    /// Probability that the pixel is the centre of a person, n = 1.
    centre: Tensor<4>,
    /// Probability of each keypoint, n = 17.
    heat_map: Tensor<4>,
    /// From the centre of a person to the keypoints: down and right, n = 2 * 17.
    regression: Tensor<4>,
    /// From the pixel to the keypoint in it: down and right, n = 2 * 17.
    offset: Tensor<4>,
}

impl MoveNet {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    fn load(
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

    /// # Shapes
    ///
    /// - pictures: `[batch, side, side, 3]`, red, green and blue from -1 to 1
    /// - output: see [`Output`]
    fn forward(&self, pictures: Tensor<4>) -> Output {
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
    depthwise: Convolution,
    project: Convolution,
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
        let depthwise = Layer::depthwise(inner, 3, stride).padded_after();
        Ok(Self {
            expand: expand.transpose()?,
            depthwise: from
                .layer(&format!("{name}.depthwise"), depthwise.then(Activation::Relu6))?,
            project: from.layer(&format!("{name}.project"), Layer::pointwise(inner, outputs))?,
            residual: stride == 1 && inputs == outputs,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let expanded = match &self.expand {
            Some(expand) => expand.forward(map.clone()),
            None => map.clone(),
        };
        let output = self.project.forward(self.depthwise.forward(expanded));
        if self.residual { output + map } else { output }
    }
}

/// A level of the feature pyramid.
#[derive(Module, Debug)]
struct Level {
    lateral: Convolution,
    depthwise: Convolution,
    pointwise: Convolution,
}

impl Level {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        lateral: Convolution,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, WeightsError> {
        let pointwise = Layer::pointwise(inputs, outputs).then(Activation::Relu);
        Ok(Self {
            lateral,
            depthwise: from.layer(&format!("{name}.depthwise"), Layer::depthwise(inputs, 3, 1))?,
            pointwise: from.layer(&format!("{name}.pointwise"), pointwise)?,
        })
    }

    fn forward(&self, smaller: Tensor<4>, lateral: Tensor<4>) -> Tensor<4> {
        let [_, rows, columns, _] = lateral.dims();
        let larger = resize(smaller, [rows, columns], Corners::HalfPixel);
        let map = larger + self.lateral.forward(lateral);
        self.pointwise.forward(self.depthwise.forward(map))
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
    depthwise: Convolution,
    widen: Convolution,
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
        Ok(Self {
            depthwise: from.layer(&format!("{name}.depthwise"), Layer::depthwise(inputs, 3, 1))?,
            widen: from.layer(&format!("{name}.widen"), widen)?,
            output: from.layer(&format!("{name}.output"), output)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.output.forward(self.widen.forward(self.depthwise.forward(map)))
    }
}
