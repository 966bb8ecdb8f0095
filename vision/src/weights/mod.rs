//! Weights of networks, read at run time from the formats in which they are published.

mod onnx;
mod pytorch;
mod safetensors;
mod tfjs;

use std::path::{Path, PathBuf};

pub use self::onnx::Onnx;
pub use self::pytorch::PyTorch;
pub use self::safetensors::{NamedTensors, Recorder};
pub use self::tfjs::TensorFlowJs;
use burn::tensor::Device;

use crate::kernels::Activation;
use crate::layers::{Convolution, Layer, Separable, phases};

/// The weights of one convolution, with batch normalisation folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// `[outputs, inputs / groups, size, size]`.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

/// A source of weights.
pub trait Weights: std::fmt::Debug {
    /// Returns the weights of a layer.
    ///
    /// A network asks for its layers in the order of its description, each once. Formats without useful names
    /// go by this order.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if there is no such layer, or if its weights do not have the shape
    /// `[outputs, inputs / groups, size, size]`.
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError>;
}

/// Reads the layers of a network onto a device.
#[derive(Debug)]
pub struct LayerReader<'a> {
    weights: &'a mut dyn Weights,
    device: &'a Device,
}

impl<'a> LayerReader<'a> {
    /// Returns a reader at the first layer.
    pub fn new(weights: &'a mut dyn Weights, device: &'a Device) -> Self {
        Self { weights, device }
    }

    /// Reads a layer.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights lack the layer, or have it in another shape.
    pub fn layer(&mut self, name: &str, layer: Layer) -> Result<Convolution, WeightsError> {
        layer.load(name, self.weights, self.device)
    }

    /// Reads a layer whose published weights have the shape `shape`; `rearrange` returns them in the order of `layer`.
    ///
    /// # Errors
    ///
    /// As [`Self::layer`].
    pub fn rearranged(
        &mut self,
        name: &str,
        shape: [usize; 4],
        rearrange: fn(&[f32]) -> Vec<f32>,
        layer: Layer,
    ) -> Result<Convolution, WeightsError> {
        let mut values = self.weights.layer(name, shape)?;
        values.weight = rearrange(&values.weight);
        Ok(layer.with(values, self.device))
    }

    /// Reads `n` layers of one shape whose weights are stored one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::layer`].
    pub fn layers(
        &mut self,
        name: &str,
        layer: Layer,
        n: usize,
    ) -> Result<Vec<Convolution>, WeightsError> {
        layer.load_some(name, n, self.weights, self.device)
    }

    /// Reads a layer of single pixels that ends with SiLU.
    ///
    /// # Errors
    ///
    /// As [`Self::layer`].
    pub fn silu(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Convolution, WeightsError> {
        self.layer(name, Layer::pointwise(inputs, outputs).then(Activation::Silu))
    }

    /// Reads the layers `depthwise` and `pointwise` under a name, which end with `activations`.
    ///
    /// # Errors
    ///
    /// As [`Self::layer`].
    pub fn separable(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        stride: usize,
        activations: [Activation; 2],
    ) -> Result<Separable, WeightsError> {
        let depthwise = Layer::depthwise(inputs, stride).then(activations[0]);
        let pointwise = Layer::pointwise(inputs, outputs).then(activations[1]);
        Ok(Separable {
            depthwise: self.layer(&format!("{name}.depthwise"), depthwise)?,
            pointwise: self.layer(&format!("{name}.pointwise"), pointwise)?,
        })
    }
}

/// A failure to read weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("could not read the weights {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not of its format.
    #[error("cannot read the weights {path:?}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A layer is missing.
    #[error("the weights {path:?} have no layer {layer:?}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The layer's name in the network.
        layer: String,
    },
    /// A layer has another shape: the weights belong to another network.
    #[error(
        "the weights {path:?} have the layer {layer:?} as {actual:?}, but the network needs {expected:?}"
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The layer's name in the network.
        layer: String,
        /// The shape in the file.
        actual: Vec<usize>,
        /// The network's shape.
        expected: [usize; 4],
    },
}

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    std::fs::read(path).map_err(|source| WeightsError::Read { path: path.to_owned(), source })
}

/// Checks that a layer has the network's shape, and as many weights and biases as that says.
fn check_shape(
    path: &Path,
    layer: &str,
    actual: &[usize],
    expected: [usize; 4],
    (weights, biases): (usize, usize),
) -> Result<(), WeightsError> {
    let n: usize = expected.iter().product();
    if actual == expected && weights == n && biases == expected[0] {
        return Ok(());
    }
    let (path, layer, actual) = (path.to_owned(), layer.to_owned(), actual.to_owned());
    Err(WeightsError::Shape { path, layer, actual, expected })
}

/// How a file stores the weights of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// As the layer needs them.
    Same,
    /// As a transposed convolution, which the layer computes in four phases: see [`phases`].
    Transposed,
}

impl Layout {
    /// Returns the layout of weights with the shape `actual`.
    fn of(
        path: &Path,
        layer: &str,
        actual: &[usize],
        expected: [usize; 4],
    ) -> Result<Self, WeightsError> {
        let [outputs, inputs, ..] = expected;
        let in_phases = outputs.is_multiple_of(4) && expected[2..] == [2, 2];
        if actual == expected {
            return Ok(Self::Same);
        }
        if in_phases && actual == [inputs, outputs / 4, 4, 4] {
            return Ok(Self::Transposed);
        }
        let (path, layer, actual) = (path.to_owned(), layer.to_owned(), actual.to_owned());
        Err(WeightsError::Shape { path, layer, actual, expected })
    }

    /// Returns the number of biases in the file; the four phases share theirs.
    fn n_biases(self, expected: [usize; 4]) -> usize {
        if self == Self::Transposed { expected[0] / 4 } else { expected[0] }
    }

    /// Returns the weights as the layer needs them.
    fn arrange(self, stored: LayerWeights, [outputs, inputs, ..]: [usize; 4]) -> LayerWeights {
        match self {
            Self::Same => stored,
            Self::Transposed => LayerWeights {
                weight: phases(&stored.weight, [inputs, outputs / 4]),
                bias: stored.bias.repeat(4),
            },
        }
    }
}
