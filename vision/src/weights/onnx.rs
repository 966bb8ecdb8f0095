//! Weights in ONNX files.
//!
//! Only the initialisers of convolutions are read, in the order of the graph; the network itself is one of ours.
//! Source: ONNX's `onnx.proto` (`ModelProto`, `GraphProto`, `NodeProto`, `TensorProto`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;

use super::{LayerWeights, Layout, Weights, WeightsError};

/// The convolutions of an ONNX graph.
#[derive(Debug)]
pub struct Onnx {
    path: PathBuf,
    /// The inputs of each convolution that are initialisers.
    convolutions: std::vec::IntoIter<Vec<String>>,
    initialisers: HashMap<String, Tensor>,
}

impl Onnx {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the file cannot be read or is not ONNX.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let bytes = super::read(path)?;
        let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
        let model = Model::decode(bytes.as_slice()).map_err(|error| format(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| format("the model has no graph".into()))?;
        let initialisers: HashMap<_, _> =
            graph.initializer.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let convolutions = graph
            .node
            .into_iter()
            .filter(|node| matches!(node.op_type.as_str(), "Conv" | "ConvTranspose"));
        let convolutions: Vec<_> =
            convolutions.map(|node| node.input.into_iter().skip(1).collect()).collect();
        Ok(Self { path: path.to_owned(), convolutions: convolutions.into_iter(), initialisers })
    }

    fn values(&self, name: &str) -> Option<Vec<f32>> {
        const FLOAT: i32 = 1;
        let tensor = self.initialisers.get(name)?;
        let raw = tensor.raw_data.as_slice();
        (tensor.data_type == FLOAT).then(|| {
            if raw.is_empty() {
                tensor.float_data.clone()
            } else {
                raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
        })
    }
}

impl Weights for Onnx {
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let inputs = self.convolutions.next();
        let missing = || WeightsError::Missing { path: self.path.clone(), layer: name.to_owned() };
        let inputs = inputs.ok_or_else(missing)?;
        let weight_name = inputs.first().ok_or_else(missing)?;
        let weight = self.values(weight_name).ok_or_else(missing)?;
        let dims = &self.initialisers[weight_name].dims;
        let actual: Vec<_> = dims.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        let layout = Layout::of(&self.path, name, &actual, shape)?;
        let n_biases = layout.n_biases(shape);
        let bias = match inputs.get(1) {
            Some(bias) => self.values(bias).ok_or_else(missing)?,
            None => vec![0.0; n_biases],
        };
        if weight.len() != shape.iter().product::<usize>() || bias.len() != n_biases {
            let (n_weights, n_biases) = (weight.len(), bias.len());
            let reason =
                format!("the layer {name:?} has {n_weights} weights and {n_biases} biases");
            return Err(WeightsError::Format { path: self.path.clone(), reason });
        }
        Ok(layout.arrange(LayerWeights { weight, bias }, shape))
    }
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}
