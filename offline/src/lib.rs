//! Captures and models without a pipeline: inspection, conversion to tables, plots, evaluation, simulation, and
//! training.

mod captures;
mod detections;
mod evaluate;
mod simulate;
mod train;

pub use crate::captures::{CaptureError, Inspection, convert, inspect, plot};
pub use crate::detections::{DetectionError, DetectionFiles, DetectionSummary, write_detections};
pub use crate::evaluate::{
    EvaluateError, KeypointPrecision, MotionScores, PoseScores, Scores, SequenceScores, TrackPlan,
    TrackScores, evaluate_motion, evaluate_pose, evaluate_track,
};
pub use crate::simulate::{RecordingsPlan, SimulateError, simulate_recordings};
pub use crate::train::{TrainError, TrainPlan, train_on_scenes};
pub use operators::Epoch;
