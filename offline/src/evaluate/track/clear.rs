//! CLEAR MOT: misses, false positives and switches of ids.
//!
//! Source: K. Bernardin and R. Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
//! Metrics", EURASIP Journal on Image and Video Processing, 2008.

use std::collections::HashMap;
use std::ops::AddAssign;

use operators::assign;

use crate::evaluate::track::MIN_OVERLAP;
use crate::evaluate::track::overlaps::Frame;

/// Counts over the frames of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClearCounts {
    /// Objects, counted once in each frame.
    pub(super) objects: u64,
    /// Objects without a track.
    pub(super) misses: u64,
    /// Tracks without an object.
    pub(super) false_positives: u64,
    /// Objects whose track is not the one before.
    pub(super) switches: u64,
}

impl ClearCounts {
    pub(super) fn of(frames: &[Frame]) -> Self {
        let (mut counts, mut track_of) = (Self::default(), HashMap::new());
        for frame in frames {
            counts.add(frame, &mut track_of);
        }
        counts
    }

    /// The multiple object tracking accuracy, at most 1; none without objects.
    pub(super) fn accuracy(&self) -> Option<f64> {
        let n_errors = self.misses + self.false_positives + self.switches;
        (self.objects > 0).then(|| 1.0 - n_errors as f64 / self.objects as f64)
    }

    /// Counts a frame. `track_of` has the last track of each object.
    fn add(&mut self, frame: &Frame, track_of: &mut HashMap<usize, usize>) {
        let kept = kept(frame, track_of);
        let fresh = paired(frame, &kept);
        for (object, track) in &fresh {
            let track = frame.tracks[*track];
            let before = track_of.insert(frame.objects[*object], track);
            self.switches += u64::from(before.is_some_and(|before| before != track));
        }
        let n_pairs = kept.len() + fresh.len();
        self.objects += frame.objects.len() as u64;
        self.misses += (frame.objects.len() - n_pairs) as u64;
        self.false_positives += (frame.tracks.len() - n_pairs) as u64;
    }
}

impl AddAssign for ClearCounts {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.misses += other.misses;
        self.false_positives += other.false_positives;
        self.switches += other.switches;
    }
}

/// Returns the objects that are still with their track, as pairs of indices.
fn kept(frame: &Frame, track_of: &HashMap<usize, usize>) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (nth, object) in frame.objects.iter().enumerate() {
        let before = track_of.get(object);
        let track = before.and_then(|before| frame.tracks.iter().position(|it| it == before));
        let is_free = |track: usize| kept.iter().all(|(_, taken)| *taken != track);
        kept.extend(
            track
                .filter(|track| is_free(*track) && frame.overlaps[nth][*track] >= MIN_OVERLAP)
                .map(|track| (nth, track)),
        );
    }
    kept
}

/// Pairs the other objects and tracks: as many as possible, with the greatest overlap.
fn paired(frame: &Frame, kept: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (objects, tracks) = (frame.objects.len(), frame.tracks.len());
    let mut costs = vec![f64::INFINITY; objects * tracks];
    for (object, track, overlap) in frame.pairs() {
        let is_kept = kept.iter().any(|pair| pair.0 == object || pair.1 == track);
        if !is_kept && overlap >= MIN_OVERLAP {
            costs[object * tracks + track] = 1.0 - overlap;
        }
    }
    let tracks = assign(&costs, objects, tracks);
    tracks.into_iter().enumerate().filter_map(|(object, track)| Some((object, track?))).collect()
}
