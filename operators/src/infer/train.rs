//! Training: fits the network to samples, and measures it on others.

use std::path::Path;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::OperatorError;
use crate::infer::accuracy::{Accuracy, Tally};
use crate::infer::decode::{Detection, encode};
use crate::infer::empty_room::EmptyRoom;
use crate::infer::layout::InputLayout;
use crate::infer::model::{Model, ModelCard, VERSION, detect};
use crate::infer::network::{COUNTS, Network, OUTPUTS, Output};
use crate::infer::subject::Subject;

const BATCH: usize = 32;
/// The weights of positions and poses in the loss, relative to presence.
const LENGTH_WEIGHT: f32 = 0.5;
/// The weight of the number of people.
const COUNT_WEIGHT: f32 = 0.5;
/// The decay of weights, so that the network does not learn its samples by heart.
const WEIGHT_DECAY: f32 = 0.05;

/// One moment: the pictures of the radios, and the people in the room.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `[n_channels, rows, columns]`, from [`crate::Features::pictures`].
    pub pictures: Vec<f32>,
    /// The people in the room.
    pub subjects: Vec<Subject>,
}

/// Options of training.
#[derive(Clone, Debug)]
pub struct TrainOptions<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The geometry of the samples.
    pub layout: InputLayout,
    /// The channels without people, which the samples are relative to.
    pub empty_room: EmptyRoom,
    /// The description of the samples, for the model's card.
    pub trained_on: String,
    /// Rounds over all samples.
    pub epochs: usize,
    /// Seed of the weights and the order of the samples.
    pub seed: u64,
}

/// The result of a round.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Number of the round, from 1.
    pub number: usize,
    /// Mean loss.
    pub loss: f32,
}

/// Trains a model on `samples`, measures it on `held_out`, and writes it to `path`.
///
/// # Errors
///
/// [`OperatorError`] if the file cannot be written.
pub fn train(
    samples: &[Sample],
    held_out: &[Sample],
    options: &TrainOptions<'_>,
    path: &Path,
    mut report: impl FnMut(Epoch),
) -> Result<ModelCard, OperatorError> {
    let layout = &options.layout;
    let plain = Device::flex();
    plain.seed(options.seed);
    let device = plain.clone().autodiff();
    let mut network = Network::new(layout.n_channels(), &device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).init();
    let mut order: Vec<_> = samples.iter().collect();
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let n_batches = samples.len().div_ceil(BATCH).max(1);
    for number in 1..=options.epochs {
        order.shuffle(&mut random);
        let mut sum = 0.0;
        for (nth, batch) in order.chunks(BATCH).enumerate() {
            let done = ((number - 1) * n_batches + nth) as f64;
            let rate = learning_rate(done / (options.epochs * n_batches) as f64);
            let loss = loss(&network, layout, batch, &device);
            sum += loss.clone().into_scalar::<f32>();
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(rate, network, gradients);
        }
        report(Epoch { number, loss: sum / n_batches as f32 });
    }
    let network = network.valid();
    let accuracy =
        measure(held_out, |pictures| detect(&network, layout, pictures.to_vec(), &plain));
    let constant = constant(layout, samples);
    let baseline = measure(held_out, |_| constant.clone());
    let card = ModelCard {
        version: VERSION,
        name: options.name.to_owned(),
        layout: layout.clone(),
        empty_room: options.empty_room.clone(),
        trained_on: options.trained_on.clone(),
        accuracy,
        baseline,
    };
    Model::save(&network, &card, path)?;
    Ok(card)
}

/// Returns the learning rate: it rises over the first twentieth, then falls along a cosine.
fn learning_rate(done: f64) -> f64 {
    const HIGHEST: f64 = 3e-3;
    const RISE: f64 = 0.05;
    if done < RISE {
        HIGHEST * (done / RISE).max(0.02)
    } else {
        let along = (done - RISE) / (1.0 - RISE);
        HIGHEST * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * along).cos()))
    }
}

/// Returns the cross-entropy of presence, in which easy empty cells have little weight, plus the absolute
/// error of lengths near people.
fn loss(network: &Network, layout: &InputLayout, batch: &[&Sample], device: &Device) -> Tensor<1> {
    let n_cells = layout.n_cells();
    let tensor = |values: Vec<f32>, channels: usize| {
        let shape = [batch.len(), channels, layout.rows, layout.columns];
        Tensor::<4>::from_data(TensorData::new(values, shape), device)
    };
    let pictures = batch.iter().flat_map(|sample| sample.pictures.iter().copied());
    let Output { cells: output, counts } =
        network.forward(tensor(pictures.collect(), layout.n_channels()));
    let encoded: Vec<_> = batch.iter().map(|sample| encode(layout, &sample.subjects)).collect();
    let target = tensor(encoded.iter().flat_map(|(target, _)| target.clone()).collect(), OUTPUTS);
    let weight = tensor(encoded.into_iter().flat_map(|(_, weight)| weight).collect(), OUTPUTS);
    let n_persons = batch.iter().map(|sample| sample.subjects.len()).sum::<usize>().max(1) as f32;

    let (logit, present) = (output.clone().narrow(1, 0, 1), target.clone().narrow(1, 0, 1));
    let wrong = (sigmoid(logit.clone()) - present.clone()).abs();
    let cross_entropy = softplus(logit.clone(), 1.0) - logit * present;
    let presence = (wrong.powf_scalar(1.0) * cross_entropy).sum() / n_persons;

    let lengths = 1..OUTPUTS;
    let apart = (output - target).narrow(1, lengths.start, lengths.len()).abs();
    let weight = weight.narrow(1, lengths.start, lengths.len());
    let n_lengths = (lengths.len() * n_cells) as f32 / n_cells as f32;
    let lengths = (apart * weight).sum() * (LENGTH_WEIGHT / (n_persons * n_lengths));
    presence + lengths + wrong_count(counts, batch, device) * COUNT_WEIGHT
}

/// Returns the cross-entropy of the number of people.
fn wrong_count(counts: Tensor<2>, batch: &[&Sample], device: &Device) -> Tensor<1> {
    let n_persons = batch.iter().map(|sample| sample.subjects.len().min(COUNTS - 1));
    let right = n_persons.flat_map(|n| (0..COUNTS).map(move |nth| f32::from(u8::from(nth == n))));
    let right = TensorData::new(right.collect::<Vec<_>>(), [batch.len(), COUNTS]);
    let right = Tensor::<2>::from_data(right, device);
    -(log_softmax(counts, 1) * right).sum() / batch.len() as f32
}

fn measure(samples: &[Sample], detect: impl Fn(&[f32]) -> Vec<Detection>) -> Accuracy {
    let mut tally = Tally::default();
    for sample in samples {
        tally.add(&detect(&sample.pictures), &sample.subjects);
    }
    tally.accuracy()
}

/// Returns the baseline: the most frequent number of people, all at the mean position, in the mean pose.
fn constant(layout: &InputLayout, samples: &[Sample]) -> Vec<Detection> {
    let mut counts = std::collections::BTreeMap::<usize, usize>::new();
    for sample in samples {
        *counts.entry(sample.subjects.len()).or_default() += 1;
    }
    let usual = counts.into_iter().max_by_key(|(_, n)| *n).map_or(0, |(n_persons, _)| n_persons);
    let subjects: Vec<_> = samples.iter().flat_map(|sample| &sample.subjects).collect();
    let n = subjects.len().max(1) as f32;
    let mean = |value: &dyn Fn(&Subject) -> f32| {
        subjects.iter().map(|subject| value(subject)).sum::<f32>() / n
    };
    let middle = Detection {
        presence: 1.0,
        position_m: [0, 1].map(|axis| mean(&|subject| subject.position_m[axis])),
        keypoints_m: std::array::from_fn(|nth| {
            [0, 1].map(|axis| mean(&|subject| subject.keypoints_m[nth][axis]))
        }),
    };
    debug_assert!(middle.position_m[0] <= layout.geometry.width_m);
    vec![middle; usual]
}
