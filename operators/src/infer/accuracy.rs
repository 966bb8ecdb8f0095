//! Accuracy of poses: position error, person count, and the share of keypoints that are close.

use schemas::N_KEYPOINTS;
use serde::{Deserialize, Serialize};

use crate::infer::decode::Detection;
use crate::infer::subject::Subject;

/// The torso is from this shoulder to that hip, by COCO index.
const SHOULDER: usize = 5;
const HIP: usize = 11;
/// The shortest torso: a lying torso is short in the elevation, and would make the measure meaningless.
const MIN_TORSO_M: f32 = 0.3;
/// A person farther than this from every detection counts as missed.
const MAX_MATCH_M: f32 = 2.0;

/// The accuracy of a model on samples that are not in its training data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Number of samples.
    pub n_samples: usize,
    /// Median distance on the plan of matched people, in metres.
    pub position_error_m: f32,
    /// Share of the people that were found within two metres.
    pub found: f32,
    /// Share of the samples whose number of people is right.
    pub count_accuracy: f32,
    /// The same, of the samples with each number of people, from 0.
    pub count_accuracy_by_persons: Vec<f32>,
    /// Share of the keypoints, of all people, within a fifth of the torso (PCK@20); those of missed
    /// people count as wrong.
    pub pck_20: f32,
    /// The same within half of the torso.
    pub pck_50: f32,
}

/// Sums over samples.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Samples and right counts, by the number of people.
    counts: Vec<(usize, usize)>,
    n_persons: usize,
    distances_m: Vec<f32>,
    n_within_20: usize,
    n_within_50: usize,
}

impl Tally {
    /// Compares the detections with the true people; matches pairs nearest first.
    pub(super) fn add(&mut self, found: &[Detection], there: &[Subject]) {
        if self.counts.len() <= there.len() {
            self.counts.resize(there.len() + 1, (0, 0));
        }
        let (n_samples, n_right) = &mut self.counts[there.len()];
        *n_samples += 1;
        *n_right += usize::from(found.len() == there.len());
        self.n_persons += there.len();
        let mut pairs: Vec<_> = found
            .iter()
            .enumerate()
            .flat_map(|(f, found)| {
                there.iter().enumerate().map(move |(t, there)| (distance_m(found, there), f, t))
            })
            .filter(|(distance_m, ..)| *distance_m <= MAX_MATCH_M)
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut used_found, mut used_there) = (vec![false; found.len()], vec![false; there.len()]);
        for (distance_m, f, t) in pairs {
            if used_found[f] || used_there[t] {
                continue;
            }
            (used_found[f], used_there[t]) = (true, true);
            self.distances_m.push(distance_m);
            self.n_within_20 += n_within(0.2, &found[f], &there[t]);
            self.n_within_50 += n_within(0.5, &found[f], &there[t]);
        }
    }

    pub(super) fn accuracy(&self) -> Accuracy {
        let share = |n: usize, of: usize| n as f32 / of.max(1) as f32;
        let n_samples = self.counts.iter().map(|(n_samples, _)| n_samples).sum();
        let n_right = self.counts.iter().map(|(_, n_right)| n_right).sum();
        let by_persons = self.counts.iter().map(|(n_samples, n_right)| share(*n_right, *n_samples));
        Accuracy {
            n_samples,
            position_error_m: median(self.distances_m.clone()),
            found: share(self.distances_m.len(), self.n_persons),
            count_accuracy: share(n_right, n_samples),
            count_accuracy_by_persons: by_persons.collect(),
            pck_20: share(self.n_within_20, self.n_persons * N_KEYPOINTS),
            pck_50: share(self.n_within_50, self.n_persons * N_KEYPOINTS),
        }
    }
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn distance_m(found: &Detection, there: &Subject) -> f32 {
    let [x, y] = [0, 1].map(|axis| found.position_m[axis] - there.position_m[axis]);
    x.hypot(y)
}

/// Counts the keypoints within a share of the torso, in the elevation.
fn n_within(share: f32, found: &Detection, there: &Subject) -> usize {
    let joint =
        |keypoint: [f32; 2], position_m: [f32; 2]| [position_m[0] + keypoint[0], keypoint[1]];
    let apart_m = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let torso_m = apart_m(there.keypoints_m[SHOULDER], there.keypoints_m[HIP]).max(MIN_TORSO_M);
    let pairs = found.keypoints_m.iter().zip(&there.keypoints_m);
    let near = pairs.filter(|(a, b)| {
        apart_m(joint(**a, found.position_m), joint(**b, there.position_m)) <= share * torso_m
    });
    near.count()
}
