//! Captures and models without a pipeline: inspection, conversion to tables, plots, evaluation, simulation, and
//! training.

mod captures;
mod evaluate;
mod simulate;
mod train;

pub use crate::captures::{CaptureError, Inspection, convert, inspect, plot};
pub use crate::evaluate::{EvaluateError, MotionScores, Scores, evaluate_motion};
pub use crate::simulate::{RecordingsPlan, SimulateError, simulate_recordings};
pub use crate::train::{TrainError, TrainPlan, train_on_scenes};
pub use operators::Epoch;
