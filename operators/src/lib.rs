//! What is computed: pure functions over slices, and the timely operators around them.

mod closed_ticks;
mod context;
mod error;
mod motion;
mod sanitize_phase;
mod streams;

use schemars::JsonSchema;
use schemas::RecordKind;
use serde::Deserialize;

pub use crate::closed_ticks::ClosedTicks;
pub use crate::context::{Context, CountDropped};
pub use crate::error::OperatorError;
pub use crate::motion::{DetectMotion, MotionConfig, MovingVariance, threshold, turbulence};
pub use crate::sanitize_phase::{
    PhaseFit, PhaseMethod, SanitizePhase, SanitizePhaseConfig, conjugate_product, fit_end_points,
    fit_least_squares, unwrap_phase,
};
pub use crate::streams::{into_records, select};

/// The operators there are.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "type")]
pub enum OperatorConfig {
    /// Removes the phase errors of unsynchronised clocks.
    SanitizePhase(SanitizePhaseConfig),
    /// Tells whether something moves on a link.
    Motion(MotionConfig),
}

impl OperatorConfig {
    /// What flows in, on all inputs alike.
    pub fn input(&self) -> RecordKind {
        match self {
            Self::SanitizePhase(_) | Self::Motion(_) => RecordKind::Csi,
        }
    }

    /// The streams it gives: the port's name, empty for the main one, and what flows there.
    pub fn outputs(&self) -> &'static [(&'static str, RecordKind)] {
        match self {
            Self::SanitizePhase(_) => &[("", RecordKind::Csi)],
            Self::Motion(_) => &[("", RecordKind::Presence)],
        }
    }
}
