//! Weights in `PyTorch`'s files: a checkpoint, or its `state_dict`, under the names of the published network.
//!
//! Source: `PyTorch`, `torch/serialization.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pytorch_reader::{DType, PytorchReader, Tensor};

use super::{LayerWeights, Layout, Weights, WeightsError};

/// What batch normalisation adds to variances.
const EPSILON: f32 = 1e-5;

/// A `.pt` or `.pth` file.
#[derive(Debug)]
pub struct PyTorch {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl PyTorch {
    /// Reads the names and shapes in the file.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the file cannot be read or is not `PyTorch`'s.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let reader = PytorchReader::new(path).map_err(|error| WeightsError::Format {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { path: path.to_owned(), tensors: reader.into_tensors() })
    }

    /// Returns the whole name of a layer: of those that end with `name`, the shortest. Checkpoints have prefixes.
    fn layer_name(&self, name: &str) -> Option<String> {
        let names = self.tensors.keys().filter_map(|key| key.strip_suffix(".weight"));
        let is_layer = |full: &&str| {
            full.strip_suffix(name).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        };
        let found = names.filter(is_layer).min_by_key(|full| (full.len(), *full));
        found.map(str::to_owned)
    }

    /// Returns the `n` values of a tensor, or `None` if the file has no tensor of this name.
    fn values(&self, name: &str, n: usize) -> Result<Option<Vec<f32>>, WeightsError> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        let fault = |reason: String| self.fault(format!("the tensor {name:?} {reason}"));
        if tensor.num_elements() != n {
            return Err(fault(format!("has {} values, not {n}", tensor.num_elements())));
        }
        let bytes = tensor.read().map_err(|error| fault(format!("cannot be read: {error}")))?;
        Ok(Some(match tensor.dtype() {
            DType::F32 => bytes.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect(),
            DType::F16 => {
                let halves = bytes.as_chunks().0.iter();
                halves.map(|raw| half::f16::from_le_bytes(*raw).to_f32()).collect()
            }
            other => return Err(fault(format!("is of {other:?}, not of 32 or 16-bit floats"))),
        }))
    }

    fn fault(&self, reason: String) -> WeightsError {
        WeightsError::Format { path: self.path.clone(), reason }
    }

    /// Returns the factor and the summand of each of `n` channels of the normalisation after a layer, if there is one.
    fn normalisation(&self, layer: &str, n: usize) -> Result<Option<Vec<[f32; 2]>>, WeightsError> {
        let Some(norm) = self.normalisation_name(layer) else { return Ok(None) };
        let values = |part: &str, absent: f32| {
            let values = self.values(&format!("{norm}.{part}"), n)?;
            Ok(values.unwrap_or_else(|| vec![absent; n]))
        };
        let (scales, shifts) = (values("weight", 1.0)?, values("bias", 0.0)?);
        let (means, variances) = (values("running_mean", 0.0)?, values("running_var", 1.0)?);
        let channels = scales.iter().zip(shifts).zip(means.iter().zip(variances));
        let channels = channels.map(|((scale, shift), (mean, variance))| {
            let factor = scale / (variance + EPSILON).sqrt();
            [factor, shift - mean * factor]
        });
        Ok(Some(channels.collect()))
    }

    /// Returns the name of the normalisation: `bn2` after `conv2`, `bn` after `conv`, 1 after 0.
    fn normalisation_name(&self, layer: &str) -> Option<String> {
        let (before, last) =
            layer.rsplit_once('.').map_or(("", layer), |(before, last)| (before, last));
        let name = match (last.strip_prefix("conv"), last.parse::<usize>()) {
            (Some(number), _) => format!("bn{number}"),
            (_, Ok(number)) => (number + 1).to_string(),
            _ => return None,
        };
        let name = if before.is_empty() { name } else { format!("{before}.{name}") };
        self.tensors.contains_key(&format!("{name}.running_mean")).then_some(name)
    }
}

impl Weights for PyTorch {
    fn layer(&mut self, name: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let missing = || WeightsError::Missing { path: self.path.clone(), layer: name.to_owned() };
        let full = self.layer_name(name).ok_or_else(missing)?;
        let weight_name = format!("{full}.weight");
        let mut actual = self.tensors.get(&weight_name).ok_or_else(missing)?.shape().to_vec();
        if let [_, _] = actual[..] {
            // A matrix is a filter of one pixel.
            actual.extend([1, 1]);
        }
        let layout = Layout::of(&self.path, name, &actual, shape)?;
        let n_channels = layout.n_biases(shape);
        let weight = self.values(&weight_name, shape.iter().product())?.ok_or_else(missing)?;
        let bias = self.values(&format!("{full}.bias"), n_channels)?;
        let norm = self.normalisation(&full, n_channels)?;
        if bias.is_none() && norm.is_none() {
            return Err(self.fault(format!("{full:?} has neither a bias nor a normalisation")));
        }
        let bias = bias.unwrap_or_else(|| vec![0.0; n_channels]);
        let mut layer = layout.arrange(LayerWeights { weight, bias }, shape);
        let filters = layer.weight.chunks_exact_mut(shape[1..].iter().product::<usize>().max(1));
        let norm = norm.unwrap_or_else(|| vec![[1.0, 0.0]; n_channels]);
        for ((filter, bias), [factor, summand]) in
            filters.zip(&mut layer.bias).zip(norm.iter().cycle())
        {
            for value in filter.iter_mut() {
                *value *= factor;
            }
            *bias = *bias * factor + summand;
        }
        Ok(layer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    /// Writes tensors of 32-bit floats as `torch.save` does, in a dictionary.
    fn saved(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}(".to_vec();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (nth, (name, shape, values)) in tensors.iter().enumerate() {
            text(&mut pickle, name);
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(&mut pickle, "storage");
            pickle.extend(b"ctorch\nFloatStorage\n");
            text(&mut pickle, &nth.to_string());
            text(&mut pickle, "cpu");
            number(&mut pickle, values.len());
            pickle.push(b't');
            pickle.push(b'Q');
            number(&mut pickle, 0);
            let strides = (1..=shape.len()).map(|axis| shape[axis..].iter().product());
            tuple(&mut pickle, shape.iter().copied());
            tuple(&mut pickle, strides);
            pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
            zip.start_file(format!("archive/data/{nth}"), options).expect("room");
            for value in *values {
                zip.write_all(&value.to_le_bytes()).expect("room");
            }
        }
        pickle.extend(b"u.");
        zip.start_file("archive/data.pkl", options).expect("room");
        zip.write_all(&pickle).expect("room");
        zip.start_file("archive/version", options).expect("room");
        zip.write_all(b"3\n").expect("room");
        zip.finish().expect("room").into_inner()
    }

    fn text(pickle: &mut Vec<u8>, text: &str) {
        pickle.push(b'X');
        pickle.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
        pickle.extend(text.as_bytes());
    }

    fn number(pickle: &mut Vec<u8>, number: usize) {
        pickle.push(b'J');
        pickle.extend(i32::try_from(number).expect("small").to_le_bytes());
    }

    fn tuple(pickle: &mut Vec<u8>, numbers: impl Iterator<Item = usize>) {
        pickle.push(b'(');
        for nth in numbers {
            number(pickle, nth);
        }
        pickle.push(b't');
    }

    fn opened(file: &[u8]) -> Result<PyTorch, WeightsError> {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("weights.pth");
        std::fs::write(&path, file).expect("room");
        PyTorch::open(&path)
    }

    /// A layer with a normalisation, in a part of a larger network.
    fn file() -> Vec<u8> {
        saved(&[
            ("model.layer1.0.conv2.weight", &[2, 1, 1, 1], &[3.0, 5.0]),
            ("model.layer1.0.bn2.weight", &[2], &[1.0, 4.0]),
            ("model.layer1.0.bn2.bias", &[2], &[0.5, -1.0]),
            ("model.layer1.0.bn2.running_mean", &[2], &[2.0, 1.0]),
            ("model.layer1.0.bn2.running_var", &[2], &[1.0, 4.0]),
            ("model.conv2.weight", &[1, 1, 1, 1], &[7.0]),
            ("model.conv2.bias", &[1], &[0.5]),
            ("model.conv3.weight", &[1, 1, 1, 1], &[7.0]),
            ("model.head.weight", &[1, 2], &[8.0, 9.0]),
            ("model.head.bias", &[1], &[6.0]),
        ])
    }

    #[test]
    fn normalisation_is_folded_in() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("weights.pth");
        std::fs::write(&path, file()).expect("room");
        let mut weights = PyTorch::open(&path).expect("a checkpoint");
        let layer = weights.layer("layer1.0.conv2", [2, 1, 1, 1]).expect("a layer");
        for (actual, expected) in layer.weight.iter().zip([3.0, 10.0]) {
            assert!((actual - expected).abs() < 1e-4, "{layer:?}");
        }
        for (actual, expected) in layer.bias.iter().zip([-1.5, -3.0]) {
            assert!((actual - expected).abs() < 1e-4, "{layer:?}");
        }
        // The shortest of the names that end with it.
        let layer = weights.layer("conv2", [1, 1, 1, 1]).expect("a layer");
        assert_eq!((layer.weight, layer.bias), (vec![7.0], vec![0.5]));
        let error = weights.layer("conv3", [1, 1, 1, 1]).expect_err("there is no bias");
        assert!(error.to_string().contains("neither a bias nor a normalisation"), "{error}");
        let layer = weights.layer("head", [1, 2, 1, 1]).expect("a matrix");
        assert_eq!((layer.weight, layer.bias), (vec![8.0, 9.0], vec![6.0]));
        let error = weights.layer("head", [3, 2, 1, 1]).expect_err("another shape");
        assert!(error.to_string().contains("the network needs [3, 2, 1, 1]"), "{error}");
        let error = weights.layer("neck", [1, 1, 1, 1]).expect_err("it is missing");
        assert!(error.to_string().contains("have no layer \"neck\""), "{error}");
    }

    #[test]
    fn a_damaged_normalisation_is_an_error() {
        let file = file();
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("weights.pth");
        // The variance of 4 is stored after that of 1, and nowhere else.
        let variances = [1.0_f32.to_le_bytes(), 4.0_f32.to_le_bytes()].concat();
        let at = file.windows(8).rposition(|part| part == variances).expect("the variances");
        let damaged = [&file[..at], &[0xff], &file[at + 1..]].concat();
        std::fs::write(&path, damaged).expect("room");
        let layer =
            PyTorch::open(&path).and_then(|mut file| file.layer("layer1.0.conv2", [2, 1, 1, 1]));
        let error = layer.expect_err("a checksum differs").to_string();
        assert!(error.contains("bn2.running_var"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let file = file();
        for length in (0..file.len()).step_by(7) {
            assert!(opened(&file[..length]).is_err(), "{length} bytes");
        }
    }
}
