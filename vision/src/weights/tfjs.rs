//! Weights in TensorFlow.js graph models: a JSON file and shards of binary numbers beside it.
//!
//! Only the convolutions of the graph are read, found by their names; the network itself is one of ours.
//! Source: TensorFlow.js, `io/types.ts` (`ModelJSON`, `WeightsManifestConfig`), and TensorFlow's `GraphDef`.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use half::f16;
use serde::Deserialize;

use super::{LayerWeights, Weights, WeightsError, check_shape};

/// The graph of a TensorFlow.js model.
#[derive(Debug)]
pub struct TensorFlowJs {
    path: PathBuf,
    /// Our name of a layer to the end of its node's name.
    node_name: fn(&str) -> String,
    nodes: Vec<Node>,
    tensors: HashMap<String, Stored>,
    /// The shards, one after the other.
    bytes: Vec<u8>,
}

impl TensorFlowJs {
    /// Reads the JSON file and the shards that it names.
    ///
    /// `node_name` gives the end of the name that the convolution of a layer has in the graph.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if a file cannot be read or is not a graph model.
    pub fn open(path: &Path, node_name: fn(&str) -> String) -> Result<Self, WeightsError> {
        let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
        let model: Model = serde_json::from_slice(&super::read(path)?)
            .map_err(|error| format(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut bytes, mut tensors) = (Vec::new(), HashMap::new());
        for group in model.weights_manifest {
            let mut at = bytes.len();
            for shard in group.paths {
                let plain =
                    Path::new(&shard).components().all(|part| matches!(part, Component::Normal(_)));
                if !plain {
                    return Err(format(format!("{shard:?} is not beside it")));
                }
                bytes.extend(super::read(&folder.join(shard))?);
            }
            for weight in group.weights {
                let stored = Stored { at, weight };
                at = stored.end().filter(|end| *end <= bytes.len()).ok_or_else(|| {
                    format(format!("the shards end before {:?}", stored.weight.name))
                })?;
                tensors.insert(stored.weight.name.clone(), stored);
            }
        }
        let nodes = model.model_topology.node;
        Ok(Self { path: path.to_owned(), node_name, nodes, tensors, bytes })
    }

    fn values(&self, name: &str) -> Option<(&Stored, Vec<f32>)> {
        let stored = self.tensors.get(name)?;
        let bytes = self.bytes.get(stored.at..stored.end()?)?;
        let scaled = |value: f32| match &stored.weight.quantization {
            Some(Quantization { scale: Some(scale), min, .. }) => {
                value * scale + min.unwrap_or(0.0)
            }
            _ => value,
        };
        let values = match stored.stored_type() {
            "float32" => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            "float16" => {
                bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            "uint16" => {
                bytes.as_chunks().0.iter().map(|b| scaled(u16::from_le_bytes(*b).into())).collect()
            }
            "uint8" => bytes.iter().map(|byte| scaled((*byte).into())).collect(),
            _ => return None,
        };
        Some((stored, values))
    }

    /// Returns the bias: the node's third input, or what the next node adds.
    fn bias(&self, node: &Node, outputs: usize) -> Option<Vec<f32>> {
        if let Some(name) = node.input.get(2) {
            return Some(self.values(name)?.1);
        }
        let next = self.nodes.iter().find(|next| {
            matches!(next.op.as_str(), "Add" | "AddV2" | "BiasAdd")
                && next.input.contains(&node.name)
        });
        let added = next.and_then(|next| next.input.iter().find(|input| **input != node.name));
        match added {
            Some(name) => Some(self.values(name)?.1),
            None => Some(vec![0.0; outputs]),
        }
    }
}

impl Weights for TensorFlowJs {
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let missing = || WeightsError::Missing { path: self.path.clone(), layer: name.to_owned() };
        let end = (self.node_name)(name);
        let is_layer = |node: &&Node| node.op.contains("Conv2") && ends_with_part(&node.name, &end);
        let node = self.nodes.iter().find(is_layer).ok_or_else(missing)?;
        let weight = node.input.get(1).ok_or_else(missing)?;
        let (stored, values) = self.values(weight).ok_or_else(missing)?;
        let bias = self.bias(node, shape[0]).ok_or_else(missing)?;
        let depthwise = node.op.contains("Depthwise");
        let actual = outputs_first(&stored.weight.shape, depthwise).ok_or_else(missing)?;
        check_shape(&self.path, name, &actual, shape, (values.len(), bias.len()))?;
        Ok(LayerWeights { weight: reordered(&values, shape), bias })
    }
}

/// Returns whether `name` ends with `end`, and `end` begins a part of it.
fn ends_with_part(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// Returns the shape `[outputs, inputs / groups, rows, columns]` of a filter of TensorFlow.
fn outputs_first(shape: &[usize], depthwise: bool) -> Option<[usize; 4]> {
    let &[rows, columns, inputs, outputs] = shape else { return None };
    Some(if depthwise {
        [inputs, outputs, rows, columns]
    } else {
        [outputs, inputs, rows, columns]
    })
}

/// Returns `[rows, columns, inputs, outputs]` as `[outputs, inputs, rows, columns]`; of a depthwise filter, inputs
/// and outputs change their roles.
fn reordered(values: &[f32], [outputs, inputs, rows, columns]: [usize; 4]) -> Vec<f32> {
    let mut weight = Vec::with_capacity(values.len());
    for output in 0..outputs {
        for input in 0..inputs {
            for place in 0..rows * columns {
                weight.push(values[(place * inputs + input) * outputs + output]);
            }
        }
    }
    weight
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Model {
    model_topology: Topology,
    weights_manifest: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Topology {
    node: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    op: String,
    #[serde(default)]
    input: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Weight>,
}

#[derive(Debug, Deserialize)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Debug, Deserialize)]
struct Quantization {
    dtype: String,
    scale: Option<f32>,
    min: Option<f32>,
}

/// A tensor in the shards.
#[derive(Debug)]
struct Stored {
    /// Its first byte.
    at: usize,
    weight: Weight,
}

impl Stored {
    fn stored_type(&self) -> &str {
        let quantization = self.weight.quantization.as_ref();
        quantization.map_or(self.weight.dtype.as_str(), |quantization| &quantization.dtype)
    }

    fn end(&self) -> Option<usize> {
        let size = match self.stored_type() {
            "float32" | "int32" => 4,
            "float16" | "uint16" => 2,
            "uint8" | "bool" => 1,
            _ => return None,
        };
        let shape = self.weight.shape.iter();
        let len = shape.copied().try_fold(1_usize, usize::checked_mul)?;
        self.at.checked_add(len.checked_mul(size)?)
    }
}
