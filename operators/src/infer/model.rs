//! Models as files: safetensors weights, with a header that describes them.

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use safetensors::SafeTensors;
use schemas::{Estimator, EstimatorKind, stable_hash};
use serde::{Deserialize, Serialize};

use crate::OperatorError;
use crate::infer::accuracy::Accuracy;
use crate::infer::decode::{Detection, decode};
use crate::infer::empty_room::EmptyRoom;
use crate::infer::features::{Features, is_complete};
use crate::infer::layout::InputLayout;
use crate::infer::network::{Network, Output};

/// The header key of the card.
const CARD: &str = "fresnel";
/// The version of the network and its input; models of another version are refused.
pub(super) const VERSION: u32 = 3;

/// The description of a model in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Version of the network and its input.
    pub version: u32,
    /// The model's name.
    pub name: String,
    /// The geometry of the model's input.
    pub layout: InputLayout,
    /// The channels without people, which the features are relative to.
    pub empty_room: EmptyRoom,
    /// A description of the training data.
    pub trained_on: String,
    /// Accuracy on scenes that are not in the training data.
    pub accuracy: Accuracy,
    /// Accuracy of a constant pose in the middle of the room on the same scenes.
    pub baseline: Accuracy,
}

/// A loaded model.
#[derive(Clone, Debug)]
pub struct Model {
    card: ModelCard,
    hash: String,
    network: Network,
    device: Device,
}

impl Model {
    /// Reads a model's file.
    ///
    /// # Errors
    ///
    /// [`OperatorError::Read`] if it cannot be read, [`OperatorError::Model`] if it is not a model.
    pub fn load(path: &Path) -> Result<Self, OperatorError> {
        let bytes = fs::read(path)
            .map_err(|source| OperatorError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(bytes)
            .map_err(|reason| OperatorError::Model { path: path.to_owned(), reason })
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
        let card = header.metadata().as_ref().and_then(|metadata| metadata.get(CARD));
        let card = card.ok_or_else(|| format!("its header has no \"{CARD}\""))?;
        let card: ModelCard = serde_json::from_str(card).map_err(|error| error.to_string())?;
        if card.version != VERSION {
            return Err(format!("it is of version {}, expected {VERSION}", card.version));
        }
        if !card.empty_room.fits(&card.layout) {
            return Err("its empty room has other antennas than its layout".to_owned());
        }
        let hash = format!("{:016x}", hash_bytes(&bytes));
        let device = Device::flex();
        let mut network = Network::new(card.layout.n_channels(), &device);
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        network.load_from(&mut store).map_err(|error| error.to_string())?;
        Ok(Self { card, hash, network, device })
    }

    /// Writes a model's file.
    ///
    /// # Errors
    ///
    /// [`OperatorError`] if the file cannot be written.
    pub(super) fn save(
        network: &Network,
        card: &ModelCard,
        path: &Path,
    ) -> Result<(), OperatorError> {
        let invalid = |reason: String| OperatorError::Model { path: path.to_owned(), reason };
        let json = serde_json::to_string(card).map_err(|error| invalid(error.to_string()))?;
        let mut store = SafetensorsStore::from_bytes(None).metadata(CARD, json);
        network.save_into(&mut store).map_err(|error| invalid(error.to_string()))?;
        let bytes = store.get_bytes().map_err(|error| invalid(error.to_string()))?;
        fs::write(path, bytes)
            .map_err(|source| OperatorError::Write { path: path.to_owned(), source })
    }

    /// Returns the description of the model.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the features that this model reads.
    pub fn features(&self) -> Features {
        Features::new(self.card.layout.clone(), &self.card.empty_room)
    }

    /// Returns the estimator of this model's poses.
    pub(super) fn estimator(&self) -> Estimator {
        let (name, hash) = (self.card.name.clone(), Some(self.hash.clone()));
        Estimator { kind: EstimatorKind::Model, name, hash }
    }

    /// Returns the people in one set of pictures, `[n_channels, rows, columns]`.
    pub(super) fn detect(&self, pictures: Vec<f32>) -> Vec<Detection> {
        let layout = &self.card.layout;
        detect(&self.network, layout, pictures, &self.device)
    }
}

pub(super) fn detect(
    network: &Network,
    layout: &InputLayout,
    pictures: Vec<f32>,
    device: &Device,
) -> Vec<Detection> {
    let is_complete = is_complete(layout, &pictures);
    let shape = [1, layout.n_channels(), layout.rows, layout.columns];
    let pictures = Tensor::<4>::from_data(TensorData::new(pictures, shape), device);
    let Output { cells, counts } = network.forward(pictures);
    // The tensors were made of 32-bit numbers.
    let cells: Vec<f32> = cells.into_data().try_to_vec().unwrap_or_default();
    let counts: Vec<f32> = counts.into_data().try_to_vec().unwrap_or_default();
    // The network has seen few rooms with a silent receiver, and counts worse in them than peaks tell.
    decode(layout, &cells, is_complete.then_some(counts.as_slice()))
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.chunks(4096).fold(0, |hash, chunk| {
        let chunk: String = chunk.iter().copied().map(char::from).collect();
        stable_hash(&[&hash.to_string(), &chunk])
    })
}
