//! IDF1: the F1 score of detections with the right id, over whole sequences.
//!
//! Source: E. Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV
//! workshops, 2016.

use std::ops::AddAssign;

use operators::assign;

use crate::evaluate::track::MIN_OVERLAP;
use crate::evaluate::track::overlaps::Frame;

/// Counts over the frames of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IdentityCounts {
    /// Objects, counted once in each frame.
    objects: u64,
    /// Tracks, counted once in each frame.
    tracks: u64,
    /// Frames in which an object is with the track that is its own over the sequence.
    right: u64,
}

impl IdentityCounts {
    /// `n_objects` and `n_tracks` are the numbers of ids.
    pub(super) fn of(frames: &[Frame], n_objects: usize, n_tracks: usize) -> Self {
        let mut n_together = vec![vec![0_u64; n_tracks]; n_objects];
        let mut counts = Self::default();
        for frame in frames {
            counts.objects += frame.objects.len() as u64;
            counts.tracks += frame.tracks.len() as u64;
            for (object, track, _) in
                frame.pairs().filter(|(_, _, overlap)| *overlap >= MIN_OVERLAP)
            {
                n_together[frame.objects[object]][frame.tracks[track]] += 1;
            }
        }
        // Pairs that are together for the most frames in all.
        let costs: Vec<_> = n_together.iter().flatten().map(|n| -(*n as f64)).collect();
        let tracks = assign(&costs, n_objects, n_tracks).into_iter().zip(&n_together);
        counts.right = tracks.filter_map(|(track, row)| Some(row[track?])).sum();
        counts
    }

    /// The F1 score, from 0 to 1; none without objects and tracks.
    pub(super) fn f1(&self) -> Option<f64> {
        let n_all = self.objects + self.tracks;
        (n_all > 0).then(|| 2.0 * self.right as f64 / n_all as f64)
    }
}

impl AddAssign for IdentityCounts {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.tracks += other.tracks;
        self.right += other.right;
    }
}
