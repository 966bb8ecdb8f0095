//! Captures and models without a pipeline: inspection, conversion to tables, plots, and training.

mod captures;
mod train;

pub use crate::captures::{CaptureError, Inspection, convert, inspect, plot};
pub use crate::train::{TrainError, TrainPlan, train_on_scenes};
pub use operators::Epoch;
