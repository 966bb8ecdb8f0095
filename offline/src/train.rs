//! Training by simulation: simulates scenes, collects the radios' frames and the ground truth, and fits a
//! model.
//!
//! The scene file defines the room and its radios. Scenes for training differ in their people and in their
//! noise, and some have lost a receiver. Scenes for measurement differ in their people only, and never have the
//! seeds of scenes for training.

use std::path::PathBuf;

use operators::{
    EmptyRoom, Epoch, Features, InputLayout, ModelCard, OperatorError, Sample, Subject,
    TrainOptions, train,
};
use schemas::{Record, TimeSpan};
use sources::SourceError;
use sources::simulate::Scene;

use crate::simulate::simulated;

/// Side of a cell of the model's grid.
const CELL_M: f32 = 0.4;
/// Length of a scene.
const SCENE: TimeSpan = TimeSpan::from_s(40);
/// Ground truths between two samples: half a second, so that samples differ.
const TRUTHS_PER_SAMPLE: usize = 5;
/// Maximum number of people in a scene. Consecutive seeds have 0 people up to this number, in turn.
const MAX_PERSONS: u64 = 3;
/// The signal-to-noise ratios of scenes for training, in steps of one decibel.
const LEAST_SNR_DB: f32 = 25.0;
const N_SNRS: u64 = 9;
/// First seed of the scenes for measurement.
const HELD_OUT_SEEDS: u64 = 1 << 32;

/// A failure of a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The scene cannot be read.
    #[error("could not read the scene {path:?}")]
    Scene {
        /// The scene file.
        path: PathBuf,
        /// The cause.
        source: SourceError,
    },
    /// The network cannot be fitted, or the model cannot be written.
    #[error("could not train {path:?}")]
    Model {
        /// The model file.
        path: PathBuf,
        /// The cause.
        source: OperatorError,
    },
}

/// The options of training.
#[derive(Clone, Debug)]
pub struct TrainPlan {
    /// The scene file with the room and the radios.
    pub scene: PathBuf,
    /// The file for the model.
    pub model: PathBuf,
    /// Number of scenes for training.
    pub n_scenes: u64,
    /// Number of scenes for the measurement of accuracy.
    pub n_held_out: u64,
    /// Number of passes over all samples.
    pub epochs: usize,
    /// Seed of scenes and training.
    pub seed: u64,
}

/// Trains a model and writes it.
///
/// # Errors
///
/// [`TrainError`] if the scene cannot be read or the model cannot be written.
pub fn train_on_scenes(
    plan: &TrainPlan,
    report: impl FnMut(Epoch),
) -> Result<ModelCard, TrainError> {
    let name = || plan.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let scene = Scene::load(&plan.scene)
        .map_err(|source| TrainError::Scene { path: plan.scene.clone(), source })?;
    let layout = InputLayout::new(scene.geometry(), CELL_M);
    let empty_room = empty_room(&scene, &layout);
    let features = Features::new(layout.clone(), &empty_room);
    let samples_of = |scenes: Vec<Scene>| -> Vec<Sample> {
        scenes.iter().flat_map(|scene| samples(scene, &features)).collect()
    };
    let seeds = plan.seed..plan.seed + plan.n_scenes;
    let samples = samples_of(seeds.map(|seed| hardened(&scene, seed)).collect());
    let seeds = HELD_OUT_SEEDS..HELD_OUT_SEEDS + plan.n_held_out;
    let held_out = samples_of(seeds.map(|seed| with_people(&scene, seed)).collect());
    let trained_on = format!(
        "simulated only: {} moments of {} scenes with 0 to {MAX_PERSONS} random people in the one room \
         \"{}\"; measured on {} moments of {} other scenes in the same room",
        samples.len(),
        plan.n_scenes,
        scene.site,
        held_out.len(),
        plan.n_held_out,
    );
    let (epochs, seed) = (plan.epochs, plan.seed);
    let options = TrainOptions { name: &name(), layout, empty_room, trained_on, epochs, seed };
    train(&samples, &held_out, &options, &plan.model, report)
        .map_err(|source| TrainError::Model { path: plan.model.clone(), source })
}

/// Returns the scene with random people: none, one and so on with consecutive seeds.
fn with_people(scene: &Scene, seed: u64) -> Scene {
    scene.with_random_people(seed, (seed % (MAX_PERSONS + 1)) as usize)
}

/// Returns the scene with random people, more often several of them, and at another noise; every fifth one has
/// lost a receiver.
fn hardened(scene: &Scene, seed: u64) -> Scene {
    const N_PERSONS: [usize; 8] = [0, 1, 2, 3, 2, 3, 2, 3];
    let n_persons = N_PERSONS[(seed % N_PERSONS.len() as u64) as usize];
    let snr_db = LEAST_SNR_DB + (seed % N_SNRS) as f32;
    let scene = scene.with_random_people(seed, n_persons).with_snr_db(snr_db);
    if seed % 5 == 4 { scene.without_receiver(seed / 5) } else { scene }
}

/// Returns the channels of the scene without people, as the features see them.
fn empty_room(scene: &Scene, layout: &InputLayout) -> EmptyRoom {
    let nobody = scene.with_random_people(HELD_OUT_SEEDS - 1, 0);
    let records = simulated(&nobody, SCENE);
    let frames = records.filter_map(|record| match record {
        Record::Csi(batch) => Some(batch),
        _ => None,
    });
    EmptyRoom::measure(layout, frames)
}

/// Returns the samples of one scene.
fn samples(scene: &Scene, features: &Features) -> Vec<Sample> {
    let (mut frames, mut samples, mut n_truths) = (features.no_frames(), Vec::new(), 0);
    for record in simulated(scene, SCENE) {
        match record {
            Record::Csi(batch) => {
                features.push(&batch, &mut frames);
            }
            Record::Pose(truth) => {
                n_truths += 1;
                if n_truths % TRUTHS_PER_SAMPLE == 0
                    && let Some(pictures) = features.pictures(truth.captured_at_ns, &frames)
                {
                    let subjects = Subject::from_truth(&truth, features.layout());
                    samples.push(Sample { pictures, subjects });
                }
            }
            _ => {}
        }
    }
    samples
}
