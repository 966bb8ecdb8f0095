//! The boxes of one frame, and how much they overlap.

use operators::intersection_over_union;

/// The objects and the tracks of one frame.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The numbers of the objects that are there.
    pub(super) objects: Vec<usize>,
    /// The numbers of the tracks that were reported.
    pub(super) tracks: Vec<usize>,
    /// The intersection over union of their boxes.
    ///
    /// # Shapes
    ///
    /// - `[n_objects][n_tracks]`
    pub(super) overlaps: Vec<Vec<f64>>,
}

impl Frame {
    /// Compares the boxes of objects and of tracks, each with its number.
    pub(super) fn new(objects: &[(usize, [f64; 4])], tracks: &[(usize, [f64; 4])]) -> Self {
        let overlaps_of = |object: &[f64; 4]| {
            tracks.iter().map(|(_, track)| intersection_over_union(object, track)).collect()
        };
        Self {
            objects: objects.iter().map(|(number, _)| *number).collect(),
            tracks: tracks.iter().map(|(number, _)| *number).collect(),
            overlaps: objects.iter().map(|(_, object)| overlaps_of(object)).collect(),
        }
    }

    /// Returns each pair of an object and a track, as indices in this frame, with its overlap.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        self.overlaps.iter().enumerate().flat_map(|(object, overlaps)| {
            overlaps.iter().enumerate().map(move |(track, overlap)| (object, track, *overlap))
        })
    }
}
