//! Operators: pure functions over slices, and the timely operators around them.

mod activity;
mod amplitudes;
mod assignment;
mod closed_ticks;
mod context;
mod error;
mod estimate_pose;
mod fuse_people;
mod hampel;
mod infer;
mod keyed;
mod motion;
mod moving_window;
mod offload;
mod place_on_floor;
mod rooms;
mod sanitize_phase;
mod select_subcarriers;
mod settings;
mod state;
mod stateful;
mod streams;
#[cfg(test)]
mod testing;
mod timed;
mod track;
mod windows;
mod zones;

use schemars::JsonSchema;
use schemas::RecordKind;
use serde::Deserialize;

use crate::settings::Settings;

pub use crate::activity::{Activities, ActivityConfig};
pub use crate::amplitudes::{relative_amplitudes, scaled_amplitudes};
pub use crate::assignment::assign;
pub use crate::closed_ticks::ClosedTicks;
pub use crate::context::{Component, Context, CountDropped, CountWorked};
pub use crate::error::OperatorError;
pub use crate::estimate_pose::{EstimatePose, EstimatePoseConfig, PoseNetworks};
pub use crate::fuse_people::{FusePeople, FusePeopleConfig};
pub use crate::hampel::{Hampel, HampelConfig, RemoveOutliers, without_outlier};
pub use crate::infer::{
    Accuracy, EmptyRoom, Epoch, Features, InferConfig, InferPoses, InputLayout, Model, ModelCard,
    RecentFrames, Sample, Subject, TrainOptions, train,
};
pub use crate::keyed::StateKey;
pub use crate::motion::{
    Breathing, ColumnSums, DetectMotion, GainCompensation, Moments, MotionConfig, MotionDetector,
    Recalibration, Vitals, find_breathing, moments,
};
pub use crate::moving_window::MovingWindow;
pub use crate::place_on_floor::{FloorPoint, PlaceOnFloor, PlaceOnFloorConfig};
pub use crate::rooms::{Rooms, RoomsConfig};
pub use crate::sanitize_phase::{
    PhaseFit, PhaseMethod, SanitizePhase, SanitizePhaseConfig, conjugate_product, fit_end_points,
    fit_least_squares, sanitize, unwrap_phase,
};
pub use crate::select_subcarriers::{ColumnStatistics, SelectSubcarriers, SelectSubcarriersConfig};
pub use crate::state::{Change, Changes, StateContext, StopPoint};
pub use crate::streams::into_records;
pub use crate::timed::timed;
pub use crate::track::{
    BoxDetection, ImageTrackOptions, ImageTracker, Plane, Track, TrackConfig, TrackedBox,
    intersection_over_union,
};
pub use crate::windows::{
    Aggregate, ColumnProblem, WindowAssigner, Windows, WindowsConfig, WindowsError, into_rows,
};
pub use crate::zones::{Zone, ZoneConfig, ZoneDifference, Zones, ZonesConfig};

/// Lists the types of operators: their names in pipeline files are those of the variants in snake case.
macro_rules! operators {
    ($($(#[$doc:meta])* $operator:ident($settings:ty)),* $(,)?) => {
        /// The type and the settings of an operator.
        #[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(tag = "type")]
        pub enum OperatorConfig {
            $($(#[$doc])* $operator($settings)),*
        }

        impl OperatorConfig {
            fn settings(&self) -> &dyn Settings {
                match self {
                    $(Self::$operator(settings) => settings),*
                }
            }
        }
    };
}

operators! {
    /// Removes the phase errors of unsynchronised clocks.
    SanitizePhase(SanitizePhaseConfig),
    /// Replaces outliers of amplitudes.
    Hampel(HampelConfig),
    /// Keeps the subcarriers that are strong and steady.
    SelectSubcarriers(SelectSubcarriersConfig),
    /// Reports motion on links.
    Motion(MotionConfig),
    /// Reports motion and presence in rooms, from their links.
    Rooms(RoomsConfig),
    /// Infers people from CSI.
    Infer(InferConfig),
    /// Finds people and their poses in pictures.
    EstimatePose(EstimatePoseConfig),
    /// Gives people in a camera's pictures a position on the floor.
    PlaceOnFloor(PlaceOnFloorConfig),
    /// Joins the people that several estimators of a site find, such as a camera's and those from CSI.
    FusePeople(FusePeopleConfig),
    /// Assigns identities to people.
    Track(TrackConfig),
    /// Reports the people in each zone.
    Zones(ZonesConfig),
    /// Reports the activities of people.
    Activity(ActivityConfig),
    /// Aggregates columns, by key and window of event time.
    Windows(WindowsConfig),
}

impl OperatorConfig {
    /// Returns the kind of records of all inputs; None if the operator accepts any kind.
    pub fn input(&self) -> Option<RecordKind> {
        self.settings().input()
    }

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    pub fn problems(&self) -> Vec<String> {
        self.settings().problems()
    }

    /// Returns the shape of the state, if the operator has any: a number that grows when the encoding
    /// changes, and the settings that the state depends on. State of another shape cannot be restored.
    pub fn state_shape(&self) -> Option<String> {
        self.settings().state_shape()
    }

    /// Returns the output ports with the kind of their records. The name of the main port is empty.
    pub fn outputs(&self) -> &'static [(&'static str, RecordKind)] {
        self.settings().outputs()
    }
}
