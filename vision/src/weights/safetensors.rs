//! Weights in safetensors files, under our names of the layers.
//!
//! Source: huggingface.co/docs/safetensors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{LayerWeights, Weights, WeightsError, check_shape};

/// A file with `LAYER.weight` and `LAYER.bias` for each layer.
#[derive(Debug)]
pub struct NamedTensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl NamedTensors {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the file cannot be read or is not a safetensors file.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let bytes = super::read(path)?;
        SafeTensors::deserialize(&bytes).map_err(|error| WeightsError::Format {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { path: path.to_owned(), bytes })
    }
}

impl NamedTensors {
    /// Returns the whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the texts in the header; none if there are none.
    pub fn metadata(&self) -> Option<HashMap<String, String>> {
        SafeTensors::read_metadata(&self.bytes).ok()?.1.metadata().clone()
    }
}

impl Weights for NamedTensors {
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let missing = || WeightsError::Missing { path: self.path.clone(), layer: name.to_owned() };
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|_| missing())?;
        let values = |part: &str| {
            let tensor = tensors.tensor(&format!("{name}.{part}")).ok()?;
            (tensor.dtype() == Dtype::F32).then(|| (floats(&tensor), tensor.shape().to_vec()))
        };
        let (weight, actual) = values("weight").ok_or_else(missing)?;
        let (bias, _) = values("bias").ok_or_else(missing)?;
        check_shape(&self.path, name, &actual, shape, (weight.len(), bias.len()))?;
        Ok(LayerWeights { weight, bias })
    }
}

fn floats(tensor: &TensorView<'_>) -> Vec<f32> {
    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Passes weights on and remembers them, to write them as safetensors.
#[derive(Debug)]
pub struct Recorder<'a> {
    weights: &'a mut dyn Weights,
    layers: Vec<(String, [usize; 4], LayerWeights)>,
}

impl<'a> Recorder<'a> {
    /// Returns a recorder that has seen nothing.
    pub fn new(weights: &'a mut dyn Weights) -> Self {
        Self { weights, layers: Vec::new() }
    }

    /// Returns the file with the layers that were asked for, and `card` as JSON in its header.
    ///
    /// # Errors
    ///
    /// [`safetensors::SafeTensorError`] if two layers have one name.
    pub fn file(&self, card: String) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let mut bytes = Vec::new();
        for (name, shape, layer) in &self.layers {
            let raw =
                |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let weight: Vec<u8> = raw(&layer.weight);
            let bias: Vec<u8> = raw(&layer.bias);
            bytes.push((format!("{name}.weight"), shape.to_vec(), weight));
            bytes.push((format!("{name}.bias"), vec![layer.bias.len()], bias));
        }
        let views = bytes.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        safetensors::serialize(views, Some([("fresnel".to_owned(), card)].into()))
    }
}

impl Weights for Recorder<'_> {
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let layer = self.weights.layer(name, shape)?;
        self.layers.push((name.to_owned(), shape, layer.clone()));
        Ok(layer)
    }
}
