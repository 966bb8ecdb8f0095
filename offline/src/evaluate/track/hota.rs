//! HOTA: the geometric mean of detection and association accuracy, over thresholds of overlap.
//!
//! Source: J. Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV, 2021.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use operators::assign;

use crate::evaluate::track::overlaps::Frame;

/// The thresholds are 0.05, 0.10 to 0.95.
const N_THRESHOLDS: usize = 19;
const STEP: f64 = 0.05;

/// Sums over the frames of sequences, by threshold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HotaSums {
    n_objects: f64,
    n_tracks: f64,
    /// Pairs of an object and a track.
    n_pairs: [f64; N_THRESHOLDS],
    /// The association accuracy of each pair, summed.
    association: [f64; N_THRESHOLDS],
}

impl HotaSums {
    /// `n_objects` and `n_tracks` are the numbers of ids.
    pub(super) fn of(frames: &[Frame], n_objects: usize, n_tracks: usize) -> Self {
        let alignment = Alignment::of(frames, n_objects, n_tracks);
        let mut together = vec![BTreeMap::<(usize, usize), f64>::new(); N_THRESHOLDS];
        for frame in frames {
            for (object, track, overlap) in alignment.pairs(frame) {
                let passed = (1..=N_THRESHOLDS).take_while(|nth| overlap >= threshold(*nth));
                for (_, together) in passed.zip(&mut together) {
                    *together.entry((object, track)).or_default() += 1.0;
                }
            }
        }
        let mut sums = Self {
            n_objects: alignment.n_frames_of_objects.iter().sum(),
            n_tracks: alignment.n_frames_of_tracks.iter().sum(),
            ..Self::default()
        };
        for (nth, together) in together.iter().enumerate() {
            sums.n_pairs[nth] = together.values().sum();
            sums.association[nth] =
                together.iter().map(|(pair, n)| n * alignment.share(*pair, *n)).sum();
        }
        sums
    }

    /// The mean over all thresholds, from 0 to 1; none without objects.
    pub(super) fn mean(&self) -> Option<f64> {
        let at = |(n_pairs, association): (&f64, &f64)| {
            let detection = n_pairs / (self.n_objects + self.n_tracks - n_pairs).max(1.0);
            (detection * association / n_pairs.max(1.0)).sqrt()
        };
        let sum: f64 = self.n_pairs.iter().zip(&self.association).map(at).sum();
        (self.n_objects > 0.0).then(|| sum / N_THRESHOLDS as f64)
    }
}

impl AddAssign for HotaSums {
    fn add_assign(&mut self, other: Self) {
        self.n_objects += other.n_objects;
        self.n_tracks += other.n_tracks;
        for nth in 0..N_THRESHOLDS {
            self.n_pairs[nth] += other.n_pairs[nth];
            self.association[nth] += other.association[nth];
        }
    }
}

/// How well each object and each track fit over a whole sequence.
struct Alignment {
    n_frames_of_objects: Vec<f64>,
    n_frames_of_tracks: Vec<f64>,
    /// The overlap of an object and a track, as a share of all that overlaps them.
    shared: Vec<Vec<f64>>,
}

impl Alignment {
    fn of(frames: &[Frame], n_objects: usize, n_tracks: usize) -> Self {
        let mut alignment = Self {
            n_frames_of_objects: vec![0.0; n_objects],
            n_frames_of_tracks: vec![0.0; n_tracks],
            shared: vec![vec![0.0; n_tracks]; n_objects],
        };
        for frame in frames {
            alignment.add(frame);
        }
        alignment
    }

    fn add(&mut self, frame: &Frame) {
        let mut of_track = vec![0.0; frame.tracks.len()];
        for (_, track, overlap) in frame.pairs() {
            of_track[track] += overlap;
        }
        let of_object: Vec<f64> = frame.overlaps.iter().map(|row| row.iter().sum()).collect();
        for (object, track, overlap) in frame.pairs().filter(|(_, _, overlap)| *overlap > 0.0) {
            let all = of_object[object] + of_track[track] - overlap;
            self.shared[frame.objects[object]][frame.tracks[track]] += overlap / all;
        }
        for object in &frame.objects {
            self.n_frames_of_objects[*object] += 1.0;
        }
        for track in &frame.tracks {
            self.n_frames_of_tracks[*track] += 1.0;
        }
    }

    /// Returns `n` as a share of the frames in which the object or the track is.
    fn share(&self, (object, track): (usize, usize), n: f64) -> f64 {
        n / (self.n_frames_of_objects[object] + self.n_frames_of_tracks[track] - n).max(1.0)
    }

    /// Pairs the objects and tracks of a frame: those that fit over the whole sequence, and overlap in the frame.
    /// Returns their numbers and their overlaps.
    fn pairs(&self, frame: &Frame) -> Vec<(usize, usize, f64)> {
        let (objects, tracks) = (frame.objects.len(), frame.tracks.len());
        let mut costs = vec![0.0; objects * tracks];
        for (object, track, overlap) in frame.pairs() {
            let pair = (frame.objects[object], frame.tracks[track]);
            costs[object * tracks + track] =
                -overlap * self.share(pair, self.shared[pair.0][pair.1]);
        }
        let tracks = assign(&costs, objects, tracks).into_iter().enumerate();
        let pairs = tracks.filter_map(|(object, track)| Some((object, track?)));
        let numbers = |(object, track): (usize, usize)| {
            (frame.objects[object], frame.tracks[track], frame.overlaps[object][track])
        };
        pairs.map(numbers).collect()
    }
}

/// Rounding must not exclude an overlap that is as large as the threshold.
fn threshold(nth: usize) -> f64 {
    STEP * nth as f64 - f64::EPSILON
}
