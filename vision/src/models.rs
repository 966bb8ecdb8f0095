//! Models as files: the weights of a network under our names, with a card in the header.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detector::Detector;
use crate::networks::{DETECTORS, DetectorNetwork, POSE_ESTIMATORS, PoseNetwork};
use crate::pose_estimator::PoseEstimator;
use crate::weights::{NamedTensors, Onnx, PyTorch, Recorder, TensorFlowJs, Weights, WeightsError};

/// The ending of a model's file.
const ENDING: &str = "safetensors";
/// The header key of the card.
const CARD: &str = "fresnel";

/// The network, origin and licence of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The network that the weights belong to.
    pub network: String,
    /// Where the weights come from.
    pub source: String,
    /// The licence of the weights.
    pub licence: String,
    /// The measured accuracy; empty if none was measured.
    #[serde(default)]
    pub accuracy: String,
    /// SHA-256 of the file that the weights were read from, in hexadecimal digits.
    pub sha256: String,
}

/// A model in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// Its file.
    pub path: PathBuf,
    /// Its card.
    pub card: ModelCard,
    /// SHA-256 of the file, in hexadecimal digits.
    pub hash: String,
}

/// A network with weights, and the hash of their file.
#[derive(Debug)]
pub struct Loaded<N: ?Sized> {
    /// The network.
    pub network: Box<N>,
    /// The first 16 hexadecimal digits of the file's SHA-256.
    pub hash: String,
}

/// A failure with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name is not that of a network.
    #[error("there is no network {name:?}: expected {expected}")]
    UnknownNetwork {
        /// The name.
        name: String,
        /// The names that there are.
        expected: String,
    },
    /// The model is not in the folder.
    #[error(
        "there is no model {name:?} in {folder:?}: `fresnel models get` fetches nanodet-g, movenet-thunder and movenet-lightning, `fresnel models add {name} FILE` adds weights that you have"
    )]
    Missing {
        /// The name of the network.
        name: String,
        /// The folder of models.
        folder: PathBuf,
    },
    /// The model to remove is not in the folder.
    #[error("there is no model {name:?} in {folder:?}: `fresnel models ls` lists them")]
    NotThere {
        /// The name.
        name: String,
        /// The folder of models.
        folder: PathBuf,
    },
    /// The weights cannot be read.
    #[error("cannot use the model {name:?}")]
    Weights {
        /// The name of the network.
        name: String,
        /// The cause.
        source: Box<WeightsError>,
    },
    /// A file cannot be written, or removed.
    #[error("could not write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The model's file cannot be made.
    #[error("cannot write the weights of {name:?}")]
    Encode {
        /// The name of the network.
        name: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ModelError {
    fn weights(name: &str, source: WeightsError) -> Self {
        Self::Weights { name: name.to_owned(), source: Box::new(source) }
    }
}

/// Returns the user's folder of models: that of `FRESNEL_MODELS`, or `fresnel/models` in the user's data folder.
pub fn models_folder() -> PathBuf {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = || {
        let home = || set("HOME").map(|home| home.join(".local/share"));
        set("XDG_DATA_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("."))
    };
    set("FRESNEL_MODELS").unwrap_or_else(|| data().join("fresnel/models"))
}

/// Returns the device that runs our kernels.
pub fn cpu() -> Device {
    Device::flex()
}

/// Returns the device of a pipeline's networks: a graphics processor with the features `cuda` or `wgpu`, otherwise the
/// CPU.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    cpu()
}

/// Returns the detector of a name.
///
/// # Errors
///
/// [`ModelError::UnknownNetwork`] if there is none.
pub fn detector(name: &str) -> Result<DetectorNetwork, ModelError> {
    let found = DETECTORS.into_iter().find(|network| network.name == name);
    found.ok_or_else(|| unknown(name, &DETECTORS.map(|network| network.name)))
}

/// Returns the pose estimator of a name.
///
/// # Errors
///
/// [`ModelError::UnknownNetwork`] if there is none.
pub fn pose_estimator(name: &str) -> Result<PoseNetwork, ModelError> {
    let found = POSE_ESTIMATORS.into_iter().find(|network| network.name == name);
    found.ok_or_else(|| unknown(name, &POSE_ESTIMATORS.map(|network| network.name)))
}

fn all_networks() -> Vec<&'static str> {
    let detectors = DETECTORS.iter().map(|network| network.name);
    detectors.chain(POSE_ESTIMATORS.iter().map(|network| network.name)).collect()
}

fn unknown(name: &str, expected: &[&str]) -> ModelError {
    ModelError::UnknownNetwork { name: name.to_owned(), expected: expected.join(", ") }
}

/// Loads a detector from a folder of models.
///
/// # Errors
///
/// [`ModelError`] if there is no such network, no such model, or if its weights are those of another network.
pub fn load_detector(
    folder: &Path,
    name: &str,
    device: &Device,
) -> Result<Loaded<dyn Detector>, ModelError> {
    let network = detector(name)?;
    let (mut weights, hash) = open(folder, network.weights)?;
    let failed = |source| ModelError::weights(name, source);
    Ok(Loaded { network: (network.load)(&mut weights, device).map_err(failed)?, hash })
}

/// Loads a pose estimator from a folder of models.
///
/// # Errors
///
/// As [`load_detector`].
pub fn load_pose_estimator(
    folder: &Path,
    name: &str,
    device: &Device,
) -> Result<Loaded<dyn PoseEstimator>, ModelError> {
    let network = pose_estimator(name)?;
    let (mut weights, hash) = open(folder, network.weights)?;
    let failed = |source| ModelError::weights(name, source);
    Ok(Loaded { network: (network.load)(&mut weights, device).map_err(failed)?, hash })
}

fn file(folder: &Path, weights: &str) -> PathBuf {
    folder.join(weights).with_added_extension(ENDING)
}

fn open(folder: &Path, weights: &str) -> Result<(NamedTensors, String), ModelError> {
    let path = file(folder, weights);
    if !path.exists() {
        return Err(ModelError::Missing { name: weights.to_owned(), folder: folder.to_owned() });
    }
    let failed = |source| ModelError::weights(weights, source);
    let tensors = NamedTensors::open(&path).map_err(failed)?;
    let mut hash = hex_sha256(tensors.bytes());
    hash.truncate(16);
    Ok((tensors, hash))
}

/// Reads weights as they are published, and writes them to a folder of models.
///
/// The format is that of the file's ending: `.onnx`, `.safetensors`, `.pt` or `.pth` for `PyTorch`, or
/// `.json` for TensorFlow.js.
///
/// # Errors
///
/// [`ModelError`] if there is no such network, if its weights cannot be read, or if the file cannot be written.
pub fn add_model(
    folder: &Path,
    name: &str,
    from: &Path,
    card: ModelCard,
) -> Result<StoredModel, ModelError> {
    let device = Device::flex();
    let (weights_name, node_name) = if let Ok(network) = detector(name) {
        (network.weights, network.node_name)
    } else {
        let network = pose_estimator(name).map_err(|_| unknown(name, &all_networks()))?;
        (network.weights, network.node_name)
    };
    let failed = |source| ModelError::weights(name, source);
    let mut published = published(from, node_name).map_err(failed)?;
    let mut recorder = Recorder::new(&mut *published);
    match detector(name) {
        Ok(network) => drop((network.load)(&mut recorder, &device).map_err(failed)?),
        Err(_) => drop((pose_estimator(name)?.load)(&mut recorder, &device).map_err(failed)?),
    }
    let card = ModelCard { network: weights_name.to_owned(), ..card };
    let encoded = |source| ModelError::Encode { name: name.to_owned(), source };
    let text = serde_json::to_string(&card).map_err(|error| encoded(error.into()))?;
    let bytes = recorder.file(text).map_err(|error| encoded(error.into()))?;
    let path = file(folder, weights_name);
    write_whole(&path, &bytes)
        .map_err(|source| ModelError::Write { path: path.clone(), source })?;
    Ok(StoredModel { path, card, hash: hex_sha256(&bytes) })
}

fn published(path: &Path, node_name: fn(&str) -> String) -> Result<Box<dyn Weights>, WeightsError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    Ok(match ending.as_deref() {
        Some("onnx") => Box::new(Onnx::open(path)?),
        Some("json") => Box::new(TensorFlowJs::open(path, node_name)?),
        Some("safetensors") => Box::new(NamedTensors::open(path)?),
        Some("pt" | "pth") => Box::new(PyTorch::open(path)?),
        _ => {
            let reason =
                "expected a file that ends with .onnx, .json, .pt, .pth or .safetensors".to_owned();
            return Err(WeightsError::Format { path: path.to_owned(), reason });
        }
    })
}

/// Writes a file that is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_added_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(partial, path)
}

/// Returns the models of a folder in the order of their names, with an error for each that cannot be read. Without a
/// folder, the list is empty.
pub fn list_models(folder: &Path) -> Vec<Result<StoredModel, ModelError>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
    paths.sort();
    paths.into_iter().map(stored).collect()
}

fn stored(path: PathBuf) -> Result<StoredModel, ModelError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |source| ModelError::weights(&name, source);
    let tensors = NamedTensors::open(&path).map_err(failed)?;
    let metadata: HashMap<String, String> = tensors.metadata().unwrap_or_default();
    let card = metadata.get(CARD).and_then(|card| serde_json::from_str(card).ok());
    let card = card.unwrap_or_else(|| ModelCard { network: name.clone(), ..ModelCard::default() });
    let hash = hex_sha256(tensors.bytes());
    Ok(StoredModel { path, card, hash })
}

/// Removes a model from a folder.
///
/// # Errors
///
/// [`ModelError`] if it is not there, or cannot be removed.
pub fn remove_model(folder: &Path, name: &str) -> Result<(), ModelError> {
    let path = file(folder, name);
    // A name is not a path to another folder.
    if path.parent() != Some(folder) || !path.exists() {
        return Err(ModelError::NotThere { name: name.to_owned(), folder: folder.to_owned() });
    }
    fs::remove_file(&path).map_err(|source| ModelError::Write { path, source })
}

/// Returns SHA-256 in hexadecimal digits.
pub fn hex_sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_reported_with_what_there_is() {
        let error = load_detector(Path::new("."), "yolo", &Device::flex()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no network \"yolo\": expected nanodet-g, yolox-nano"
        );
    }

    #[test]
    fn a_missing_model_says_how_to_get_it() {
        let error = load_detector(Path::new("/nowhere"), "nanodet-g", &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("fresnel models add nanodet-g"), "{error}");
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex_sha256(b""), empty);
    }
}
