//! Operators: pure functions over slices, and the timely operators around them.

mod activity;
mod closed_ticks;
mod context;
mod error;
mod infer;
mod keyed;
mod motion;
mod sanitize_phase;
mod settings;
mod state;
mod stateful;
mod streams;
#[cfg(test)]
mod testing;
mod track;
mod windows;
mod zones;

use schemars::JsonSchema;
use schemas::RecordKind;
use serde::Deserialize;

pub use crate::activity::{Activities, ActivityConfig};
pub use crate::closed_ticks::ClosedTicks;
pub use crate::context::{Component, Context, CountDropped};
pub use crate::error::OperatorError;
pub use crate::infer::{
    Accuracy, Epoch, Features, InferConfig, InferPoses, InputLayout, Model, ModelCard,
    RecentFrames, Sample, Subject, TrainOptions, train,
};
pub use crate::keyed::StateKey;
pub use crate::motion::{DetectMotion, MotionConfig, MovingVariance, threshold, turbulence};
pub use crate::sanitize_phase::{
    PhaseFit, PhaseMethod, SanitizePhase, SanitizePhaseConfig, conjugate_product, fit_end_points,
    fit_least_squares, sanitize, unwrap_phase,
};
pub use crate::state::{Change, Changes, StateContext, StopPoint};
pub use crate::streams::into_records;
pub use crate::track::{Track, TrackConfig};
pub use crate::windows::{
    Aggregate, WindowAssigner, Windows, WindowsConfig, WindowsError, into_rows,
};
pub use crate::zones::{Zone, ZoneConfig, ZoneDifference, Zones, ZonesConfig};

/// The operators there are.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "type")]
pub enum OperatorConfig {
    /// Removes the phase errors of unsynchronised clocks.
    SanitizePhase(SanitizePhaseConfig),
    /// Reports motion on links.
    Motion(MotionConfig),
    /// Turns CSI into people.
    Infer(InferConfig),
    /// Assigns identities to people.
    Track(TrackConfig),
    /// Follows who is in which zone.
    Zones(ZonesConfig),
    /// Reports the activities of people.
    Activity(ActivityConfig),
    /// Aggregates columns, by key and stretch of time.
    Windows(WindowsConfig),
}

impl OperatorConfig {
    /// The kind of records of all inputs; none for any.
    pub fn input(&self) -> Option<RecordKind> {
        match self {
            Self::SanitizePhase(_) | Self::Motion(_) | Self::Infer(_) => Some(RecordKind::Csi),
            Self::Track(_) | Self::Zones(_) | Self::Activity(_) => Some(RecordKind::Pose),
            Self::Windows(_) => None,
        }
    }

    /// A problem of its settings: the name of a setting, and the expected values.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::SanitizePhase(_) => None,
            Self::Motion(config) => config.problem(),
            Self::Infer(config) => config.problem(),
            Self::Track(config) => config.problem(),
            Self::Zones(config) => config.zones.iter().find_map(|(name, zone)| {
                zone.problem().map(|problem| format!("zones: \"{name}\": {problem}"))
            }),
            Self::Activity(config) => config.problem(),
            Self::Windows(config) => config.problem(),
        }
    }

    /// What its state is like, if it has any: a number that grows when the state changes, and the
    /// settings that it depends on. State of another shape cannot be used.
    pub fn state_shape(&self) -> Option<String> {
        match self {
            Self::SanitizePhase(_) => None,
            Self::Motion(config) => Some(format!("motion 2, {} frames", config.window_frames)),
            Self::Infer(config) => Some(format!("infer 2, {}", config.model.display())),
            Self::Track(_) => Some("track 2".to_owned()),
            Self::Zones(_) => Some("zones 2".to_owned()),
            Self::Activity(config) => Some(format!("activity 2, {} s", config.window_s)),
            Self::Windows(config) => Some(config.state_shape()),
        }
    }

    /// The streams it gives: the port's name, empty for the main one, and what flows there.
    pub fn outputs(&self) -> &'static [(&'static str, RecordKind)] {
        match self {
            Self::SanitizePhase(_) => &[("", RecordKind::Csi)],
            Self::Motion(_) => &[("", RecordKind::Presence)],
            Self::Infer(_) | Self::Track(_) => &[("", RecordKind::Pose)],
            Self::Zones(_) => &[
                ("", RecordKind::Occupancy),
                ("people", RecordKind::Pose),
                ("events", RecordKind::Event),
            ],
            Self::Activity(_) => &[
                ("", RecordKind::Activity),
                ("people", RecordKind::Pose),
                ("events", RecordKind::Event),
            ],
            Self::Windows(_) => &[("", RecordKind::Rows), ("late", RecordKind::Rows)],
        }
    }
}
