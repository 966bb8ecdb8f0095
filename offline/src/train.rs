//! Training by simulation: simulates scenes, collects the radios' frames and the ground truth, and fits a
//! model.
//!
//! Only people and noise differ between scenes. The scene file defines the room and its radios. Scenes for
//! measurement never have the seeds of scenes for training.

use std::path::PathBuf;

use operators::{
    Epoch, Features, InputLayout, ModelCard, OperatorError, Sample, Subject, TrainOptions, train,
};
use schemas::{Record, TimeSpan};
use sources::simulate::{Scene, Simulator};
use sources::{PollState, Source, SourceContext, SourceError};

/// Side of a cell of the model's grid.
const CELL_M: f32 = 0.4;
/// Length of a scene.
const SCENE: TimeSpan = TimeSpan::from_s(40);
/// Ground truths between two samples: half a second, so that samples differ.
const TRUTHS_PER_SAMPLE: usize = 5;
/// Maximum number of people in a scene. Consecutive seeds have 0 people up to this number, in turn.
const MAX_PERSONS: usize = 3;
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
    let samples_of = |seeds: std::ops::Range<u64>| -> Vec<Sample> {
        seeds.flat_map(|seed| samples(&scene, seed, &layout)).collect()
    };
    let samples = samples_of(plan.seed..plan.seed + plan.n_scenes);
    let held_out = samples_of(HELD_OUT_SEEDS..HELD_OUT_SEEDS + plan.n_held_out);
    let trained_on = format!(
        "simulated only: {} moments of {} scenes with 0 to {MAX_PERSONS} random people in the one room \
         \"{}\"; measured on {} moments of {} other scenes in the same room",
        samples.len(),
        plan.n_scenes,
        scene.site,
        held_out.len(),
        plan.n_held_out,
    );
    let options = TrainOptions { name: &name(), trained_on, epochs: plan.epochs, seed: plan.seed };
    train(&layout, &samples, &held_out, &options, &plan.model, report)
        .map_err(|source| TrainError::Model { path: plan.model.clone(), source })
}

/// Returns the samples of one scene with random people.
fn samples(scene: &Scene, seed: u64, layout: &InputLayout) -> Vec<Sample> {
    let n_persons = usize::try_from(seed).unwrap_or_default() % (MAX_PERSONS + 1);
    let scene = scene.with_random_people(seed, n_persons);
    let context = SourceContext { site: &scene.site, ..SourceContext::detached("train") };
    let mut simulator = Simulator::new(&scene, &context, 0, Some(SCENE), 1);
    let features = Features::new(layout.clone());
    let (mut frames, mut samples, mut n_truths) = (features.no_frames(), Vec::new(), 0);
    loop {
        let Ok(poll) = simulator.poll() else { return samples };
        for (_, record) in poll.records {
            match record {
                Record::Csi(batch) => {
                    features.push(&batch, &mut frames);
                }
                Record::Pose(truth) => {
                    n_truths += 1;
                    let pictures = features.pictures(truth.captured_at_ns, &frames);
                    if n_truths % TRUTHS_PER_SAMPLE == 0
                        && let Some(pictures) = pictures
                    {
                        let subjects = Subject::from_truth(&truth, layout);
                        samples.push(Sample { pictures, subjects });
                    }
                }
                _ => {}
            }
        }
        if poll.state == PollState::End {
            return samples;
        }
    }
}
