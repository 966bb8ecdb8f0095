//! Motion on a link; the result can be "unknown".

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SourceKind;

/// The state of motion on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// Not calibrated yet, or not enough frames.
    #[default]
    Unknown,
    /// Nobody moves; a person may be present without moving.
    Still,
    /// Somebody moves.
    Moving,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// It cannot be told: not enough frames without motion yet, or slow changes that are no breathing.
    #[default]
    Unknown,
    /// Nothing moves, not even a chest.
    Absent,
    /// Somebody moves or breathes.
    Present,
}

/// The state of the calibration of a link: the reason why motion is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationState {
    /// The frames have no signal.
    NoSignal,
    /// The frames have none of the subcarriers that the settings name.
    NoSubcarriers,
    /// There are not enough frames yet.
    FillingWindow,
    /// It is quiet, but not for long enough yet.
    Running,
    /// Somebody moves, or there is interference: the calibration waits until it is quiet.
    NotQuiet,
    /// The threshold is known.
    Done,
}

/// Motion on one link at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Presence {
    /// The observed place.
    pub site: String,
    /// The link, `receiver/transmitter`, or the room of several links.
    pub link: String,
    /// Capture time of the newest frame of the result, in nanoseconds since the Unix epoch.
    pub captured_at_ns: i64,
    /// The result.
    pub motion: Motion,
    /// Variance of the amplitudes over the window, relative to their mean; absent until the window is full.
    pub moving_variance: Option<f32>,
    /// The threshold of the variance; absent before calibration.
    pub threshold: Option<f32>,
    /// Correlation of neighbouring frames, from -1 to 1: near 0 for noise, high for motion.
    pub correlation: Option<f32>,
    /// The state of the calibration; absent in older records.
    pub calibration: Option<CalibrationState>,
    /// Whether somebody is there; absent in older records.
    pub presence: Option<PresenceState>,
    /// The rate of breathing, while somebody who does not move otherwise breathes.
    pub breaths_per_minute: Option<f32>,
    /// The confidence of `motion`, from 0.5 to 1; absent while motion is unknown.
    pub confidence: Option<f32>,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
}

impl Presence {
    /// Returns the bytes of its text.
    pub(crate) fn size_bytes(&self) -> usize {
        self.site.len() + self.link.len()
    }
}
