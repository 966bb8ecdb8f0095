//! PP-TinyPose, a Lite-HRNet that finds the keypoints of one person.
//!
//! Branches of several resolutions run side by side and exchange what they found after each module.
//! Source: Yu et al., "Lite-HRNet: A Lightweight High-Resolution Network" (arXiv 2104.06403), in the naive variant
//! of width 40 of PaddleDetection.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::heat_map::Spacing;
use crate::kernels::{Activation, Corners};
use crate::layers::{Convolution, Layer, Separable, add, interleave, resize};
use crate::networks::top_down::{HeatMapNetwork, TopDown, Training};
use crate::networks::{PoseNetwork, same_name};
use crate::pictures::Normalisation;
use crate::pose_estimator::{N_KEYPOINTS, PoseEstimator};
use crate::weights::{LayerReader, Weights, WeightsError};

/// Channels of the branches, from the largest map to the smallest.
const CHANNELS: [usize; 4] = [40, 80, 160, 320];
/// A separable layer ends with `ReLU`, and has no activation between its layers.
const RELU: [Activation; 2] = [Activation::Linear, Activation::Relu];
/// Modules of the stages with two, three and four branches.
const MODULES: [usize; 3] = [2, 4, 2];

/// PP-TinyPose for 128 rows and 96 columns.
pub(super) const TINY_POSE_128: PoseNetwork = PoseNetwork {
    name: "tinypose-128x96",
    weights: "tinypose-128x96",
    load: |weights, device| estimator(weights, device, [128, 96], false),
    node_name: same_name,
};

/// PP-TinyPose for 256 rows and 192 columns.
pub(super) const TINY_POSE_256: PoseNetwork = PoseNetwork {
    name: "tinypose-256x192",
    weights: "tinypose-256x192",
    load: |weights, device| estimator(weights, device, [256, 192], false),
    node_name: same_name,
};

/// The same, which looks at each person a second time in a mirror: more accurate, and half as fast.
pub(super) const TINY_POSE_256_MIRROR: PoseNetwork = PoseNetwork {
    name: "tinypose-256x192-mirror",
    weights: "tinypose-256x192",
    load: |weights, device| estimator(weights, device, [256, 192], true),
    node_name: same_name,
};

/// Returns an estimator for as many rows and columns, which looks at each person in a mirror, too, or does not.
fn estimator(
    weights: &mut dyn Weights,
    device: &Device,
    pixels: [usize; 2],
    mirror: bool,
) -> Result<Box<dyn PoseEstimator>, WeightsError> {
    // Unbiased data processing (Huang et al., arXiv 1911.07524).
    let training =
        Training { pixels, normalisation: Normalisation::IMAGE_NET, spacing: Spacing::Centres };
    Ok(Box::new(TopDown { network: TinyPose::load(weights, device)?, training, mirror }))
}

/// The network.
#[derive(Module, Debug)]
struct TinyPose {
    stem: Stem,
    /// The first layers of the branches: two for the first stage, then one for each further stage.
    entries: Vec<Separable>,
    stages: Vec<Stage>,
    head: Head,
}

impl TinyPose {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights are those of another network.
    fn load(weights: &mut dyn Weights, device: &Device) -> Result<Self, WeightsError> {
        let from = &mut LayerReader::new(weights, device);
        let stem = Stem::load(from)?;
        let mut entries = vec![from.separable("entries.0", [32, CHANNELS[0]], 1, RELU)?];
        let mut stages = Vec::new();
        for (nth, modules) in MODULES.into_iter().enumerate() {
            let (branch, inputs) = (nth + 1, if nth == 0 { 32 } else { CHANNELS[nth] });
            let name = format!("entries.{branch}");
            entries.push(from.separable(&name, [inputs, CHANNELS[branch]], 2, RELU)?);
            stages.push(Stage::load(from, &format!("stages.{nth}"), nth + 2, modules)?);
        }
        Ok(Self { stem, entries, stages, head: Head::load(from)? })
    }
}

impl HeatMapNetwork for TinyPose {
    fn device(&self) -> Device {
        self.head.heat_maps.device()
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let stem = self.stem.forward(pictures);
        let mut branches = vec![self.entries[0].forward(stem.clone())];
        let mut smallest = stem;
        for (entry, stage) in self.entries[1..].iter().zip(&self.stages) {
            branches.push(entry.forward(smallest));
            branches = stage.forward(branches);
            smallest = branches[branches.len() - 1].clone();
        }
        self.head.forward(branches)
    }
}

/// The first layers: a quarter of the size in two ways, which are interleaved.
#[derive(Module, Debug)]
struct Stem {
    first: Convolution,
    near: Separable,
    widen: Convolution,
    far: Separable,
}

impl Stem {
    fn load(from: &mut LayerReader<'_>) -> Result<Self, WeightsError> {
        let relu = |layer: Layer| layer.then(Activation::Relu);
        Ok(Self {
            first: from.layer("stem.first", relu(Layer::dense(3, 32, 3, 2)))?,
            near: from.separable("stem.near", [16, 16], 2, RELU)?,
            widen: from.layer("stem.widen", relu(Layer::pointwise(16, 32)))?,
            far: from.separable("stem.far", [32, 16], 2, RELU)?,
        })
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let map = self.first.forward(pictures);
        let near = self.near.forward(map.clone().narrow(3, 0, 16));
        let far = self.far.forward_after(&self.widen, map.narrow(3, 16, 16));
        interleave(near, far)
    }
}

/// Modules with the same number of branches.
#[derive(Module, Debug)]
struct Stage {
    modules: Vec<Exchange>,
}

impl Stage {
    fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        branches: usize,
        modules: usize,
    ) -> Result<Self, WeightsError> {
        let module = |nth| Exchange::load(from, &format!("{name}.{nth}"), branches);
        Ok(Self { modules: (0..modules).map(module).collect::<Result<_, _>>()? })
    }

    fn forward(&self, branches: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        self.modules.iter().fold(branches, |branches, module| module.forward(branches))
    }
}

/// Two units per branch, then an exchange between all branches.
#[derive(Module, Debug)]
struct Exchange {
    units: Vec<[Unit; 2]>,
    /// For each branch, the paths from the other branches to it, in their order.
    paths: Vec<Vec<Path>>,
}

impl Exchange {
    fn load(from: &mut LayerReader<'_>, name: &str, n: usize) -> Result<Self, WeightsError> {
        let mut units = Vec::new();
        for (branch, channels) in CHANNELS.into_iter().enumerate().take(n) {
            let name = format!("{name}.units.{branch}");
            let mut unit = |nth| Unit::load(from, &format!("{name}.{nth}"), channels / 2);
            units.push([unit(0)?, unit(1)?]);
        }
        let mut paths = Vec::new();
        for to in 0..n {
            let others = (0..n).filter(|other| *other != to);
            let path = |other| Path::load(from, &format!("{name}.paths.{to}.{other}"), other, to);
            paths.push(others.map(path).collect::<Result<_, _>>()?);
        }
        Ok(Self { units, paths })
    }

    fn forward(&self, branches: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let passed = branches.into_iter().zip(&self.units);
        let mut passed = passed.map(|(map, [first, second])| second.forward(first.forward(map)));
        let first = passed.next().unwrap_or_else(|| unreachable!("at least two branches"));
        let others: Vec<_> = passed.collect();
        // The published weights were trained with sums in place: the first branch counts twice, and the other sums
        // read the first sum.
        let first = add_all(first * 2.0, &others, self.paths[0].iter().map(Some));
        let mut sums = Vec::new();
        for (nth, paths) in self.paths[1..].iter().enumerate() {
            let sum = paths[0].forward(first.clone()) * 2.0;
            let (before, after) = paths[1..].split_at(nth);
            let paths = before.iter().map(Some).chain([None]).chain(after.iter().map(Some));
            sums.push(relu(add_all(sum, &others, paths)));
        }
        sums.insert(0, relu(first));
        sums
    }
}

/// Adds maps to a sum, each over its path if it has one.
fn add_all<'a>(
    sum: Tensor<4>,
    maps: &[Tensor<4>],
    paths: impl Iterator<Item = Option<&'a Path>>,
) -> Tensor<4> {
    maps.iter().cloned().zip(paths).fold(sum, |sum, (map, path)| {
        add(sum, if let Some(path) = path { path.forward(map) } else { map })
    })
}

/// Half of the channels pass three layers, and are interleaved with the other half.
#[derive(Module, Debug)]
struct Unit {
    first: Convolution,
    second: Separable,
}

impl Unit {
    fn load(from: &mut LayerReader<'_>, name: &str, half: usize) -> Result<Self, WeightsError> {
        let first = Layer::pointwise(half, half).then(Activation::Relu);
        Ok(Self {
            first: from.layer(&format!("{name}.first"), first)?,
            second: from.separable(&format!("{name}.second"), [half, half], 1, RELU)?,
        })
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let half = map.dims()[3] / 2;
        let passed = self.second.forward_after(&self.first, map.clone().narrow(3, half, half));
        interleave(map, passed)
    }
}

/// The way from one branch to another.
#[derive(Module, Debug)]
enum Path {
    /// From a smaller map: a pointwise layer, then enlarged.
    Enlarge(Convolution),
    /// From a larger map: the size is halved several times.
    Halve(Vec<Separable>),
}

impl Path {
    fn load(
        reader: &mut LayerReader<'_>,
        name: &str,
        from: usize,
        to: usize,
    ) -> Result<Self, WeightsError> {
        let (inputs, outputs) = (CHANNELS[from], CHANNELS[to]);
        if from > to {
            return Ok(Self::Enlarge(reader.layer(name, Layer::pointwise(inputs, outputs))?));
        }
        let halve = |nth| {
            let last = nth + 1 == to - from;
            let (outputs, activation) =
                if last { (outputs, Activation::Linear) } else { (inputs, Activation::Relu) };
            reader.separable(
                &format!("{name}.{nth}"),
                [inputs, outputs],
                2,
                [Activation::Linear, activation],
            )
        };
        Ok(Self::Halve((0..to - from).map(halve).collect::<Result<_, _>>()?))
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Enlarge(layer) => layer.forward(map),
            Self::Halve(layers) => layers.iter().fold(map, |map, layer| layer.forward(map)),
        }
    }
}

/// Joins the branches, from the smallest map to the largest, into heat maps.
#[derive(Module, Debug)]
struct Head {
    layers: Vec<Separable>,
    heat_maps: Convolution,
}

impl Head {
    fn load(from: &mut LayerReader<'_>) -> Result<Self, WeightsError> {
        let channels = [CHANNELS[3], CHANNELS[2], CHANNELS[1], CHANNELS[0], CHANNELS[0]];
        let mut layers = Vec::new();
        for (nth, pair) in channels.windows(2).enumerate() {
            layers.push(from.separable(&format!("head.{nth}"), [pair[0], pair[1]], 1, RELU)?);
        }
        let heat_maps = from.layer("head.heat_maps", Layer::pointwise(CHANNELS[0], N_KEYPOINTS))?;
        Ok(Self { layers, heat_maps })
    }

    fn forward(&self, branches: Vec<Tensor<4>>) -> Tensor<4> {
        let mut joined: Option<Tensor<4>> = None;
        for (map, layer) in branches.into_iter().rev().zip(&self.layers) {
            let [_, rows, columns, _] = map.dims();
            let sum = match joined {
                Some(smaller) => add(map, resize(smaller, [rows, columns], Corners::Aligned)),
                None => map,
            };
            joined = Some(layer.forward(sum));
        }
        joined.map_or_else(|| unreachable!("four branches"), |map| self.heat_maps.forward(map))
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
        for (file, pixels) in [
            ("tinypose_128x96.from-ncnn.onnx", [128, 96]),
            ("tinypose_256x192.from-ncnn.onnx", [256, 192]),
        ] {
            assert_equal_outputs(file, pixels, 2.0, |weights, device, input| {
                let network = TinyPose::load(weights, device).expect("weights of the network");
                values(network.forward(input))
            });
        }
    }
}
