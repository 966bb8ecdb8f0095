//! Evaluation of tracking in images, on sequences with ground truth.
//!
//! The tracker reads the detections of a sequence frame by frame. Its tracks are compared with the ground truth by
//! MOTA, IDF1 and HOTA.

mod clear;
mod hota;
mod identity;
mod mot_file;
mod overlaps;
mod scores;

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use operators::{BoxDetection, ImageTrackOptions, ImageTracker, TrackedBox};

use crate::evaluate::EvaluateError;
use crate::evaluate::track::mot_file::{Row, Rows};
use crate::evaluate::track::overlaps::Frame;
pub use crate::evaluate::track::scores::{SequenceScores, TrackScores};

/// The least intersection over union of an object and its track.
const MIN_OVERLAP: f64 = 0.5;

/// The files of an evaluation, one of each kind for each sequence.
#[derive(Clone, Debug)]
pub struct TrackPlan {
    /// Detections.
    pub detections: Vec<PathBuf>,
    /// Ground truth.
    pub truths: Vec<PathBuf>,
    /// Where to write the tracks; none if they are not asked for.
    pub tracks: Vec<PathBuf>,
    /// Frames per second of the sequences.
    pub frames_per_s: f64,
}

/// Tracks the detections of each sequence, and compares the tracks with the truth.
///
/// # Errors
///
/// [`EvaluateError`] if a file cannot be read or written, or if there are not as many files of one kind as of the
/// other.
pub fn evaluate_track(plan: &TrackPlan) -> Result<TrackScores, EvaluateError> {
    let TrackPlan { detections, truths, tracks, frames_per_s } = plan;
    if detections.len() != truths.len() || (!tracks.is_empty() && tracks.len() != truths.len()) {
        let (detections, truths) = (detections.len(), truths.len());
        return Err(EvaluateError::Unpaired { detections, truths, tracks: tracks.len() });
    }
    let mut scores = TrackScores::default();
    for (nth, (detections, truth)) in detections.iter().zip(truths).enumerate() {
        let (detections, rows) = (mot_file::read(detections)?, mot_file::read(truth)?);
        let sequence = Sequence::track(&detections, &rows, *frames_per_s);
        scores.add(truth, &sequence);
        if let Some(path) = tracks.get(nth) {
            mot_file::write(path, &sequence.tracked)?;
        }
    }
    Ok(scores)
}

/// The frames of a sequence with objects and tracks.
struct Sequence {
    frames: Vec<Frame>,
    n_objects: usize,
    n_tracks: usize,
    /// The boxes of each frame.
    tracked: Vec<Vec<TrackedBox>>,
    /// Time that the tracker took.
    elapsed: Duration,
}

impl Sequence {
    fn track(detections: &Rows, truth: &Rows, frames_per_s: f64) -> Self {
        let (mut objects, mut tracks) = (Numbers::default(), Numbers::default());
        let mut tracker = ImageTracker::new(ImageTrackOptions::default());
        let (mut frames, mut tracked, mut elapsed) = (Vec::new(), Vec::new(), Duration::ZERO);
        let last = detections.keys().chain(truth.keys()).max().copied().unwrap_or(0);
        for nth in 1..=last {
            let found: Vec<_> = rows(detections, nth).iter().map(detection).collect();
            let started = now();
            tracker.step(1.0 / frames_per_s, &found);
            let boxes: Vec<_> = tracker.boxes().collect();
            elapsed += started.elapsed();
            let shown = boxes.iter().map(|tracked| (tracks.of(tracked.id), tracked.bbox));
            let people = rows(truth, nth).iter().filter(|row| row.is_evaluated());
            let people = people.map(|row| (objects.of(row.id), row.bounds));
            frames.push(Frame::new(&people.collect::<Vec<_>>(), &shown.collect::<Vec<_>>()));
            tracked.push(boxes);
        }
        let (n_objects, n_tracks) = (objects.len(), tracks.len());
        Self { frames, n_objects, n_tracks, tracked, elapsed }
    }
}

fn rows(rows: &Rows, frame: u32) -> &[Row] {
    rows.get(&frame).map_or(&[], Vec::as_slice)
}

fn detection(row: &Row) -> BoxDetection<'static> {
    BoxDetection { bbox: row.bounds, score: row.confidence, keypoints: None }
}

#[expect(clippy::disallowed_methods, reason = "the speed of the tracker is a result")]
fn now() -> Instant {
    Instant::now()
}

/// Numbers from 0 for ids, in the order in which they appear.
#[derive(Debug)]
struct Numbers<K>(HashMap<K, usize>);

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Numbers<K> {
    fn of(&mut self, id: K) -> usize {
        let next = self.0.len();
        *self.0.entry(id).or_insert(next)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
