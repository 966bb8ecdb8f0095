//! Evaluation on labelled data: motion, tracking and poses.

mod motion;
mod pose;
mod track;

use std::io;
use std::path::PathBuf;

use crate::captures::CaptureError;
pub use crate::evaluate::motion::{MotionScores, Scores, evaluate_motion};
pub use crate::evaluate::pose::{KeypointPrecision, PoseScores, evaluate_pose};
pub use crate::evaluate::track::{SequenceScores, TrackPlan, TrackScores, evaluate_track};

/// A failure of an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The labels cannot be read.
    #[error("could not read the labels {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A label or a setting makes no sense.
    #[error("{path:?}: {problem}")]
    Problem {
        /// The file.
        path: PathBuf,
        /// The cause.
        problem: String,
    },
    /// Nothing was left to evaluate.
    #[error("{path:?}: nothing is left to evaluate after the time of `skip`")]
    NothingLeft {
        /// The file.
        path: PathBuf,
    },
    /// The file is not one of labels.
    #[error("{path:?} is not a file of labels")]
    Labels {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<toml::de::Error>,
    },
    /// A recording cannot be read.
    #[error("could not evaluate a recording")]
    Recording(#[from] CaptureError),
    /// A file of boxes or results cannot be read.
    #[error("could not read {path:?}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file of tracks cannot be written.
    #[error("could not write {path:?}")]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A line is not one of boxes.
    #[error("line {line} of {path:?} is not `frame,id,left,top,width,height,confidence`")]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
    },
    /// There are not as many files of one kind as of the other.
    #[error(
        "{detections} files of detections, {truths} of truth and {tracks} of tracks are not one of each for each \
         sequence"
    )]
    Unpaired {
        /// Number of files of detections.
        detections: usize,
        /// Number of files of truth.
        truths: usize,
        /// Number of files for tracks.
        tracks: usize,
    },
    /// The file is not JSON of COCO.
    #[error("{path:?} is not a file of COCO {expected}")]
    Coco {
        /// The file.
        path: PathBuf,
        /// The kind of file.
        expected: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
}
