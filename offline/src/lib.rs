//! Captures and models without a pipeline: inspection, conversion to tables, plots, evaluation, and training.

mod captures;
mod evaluate;
mod train;

pub use crate::captures::{CaptureError, Inspection, convert, inspect, plot};
pub use crate::evaluate::{EvaluateError, MotionScores, Scores, evaluate_motion};
pub use crate::train::{TrainError, TrainPlan, train_on_scenes};
pub use operators::Epoch;
