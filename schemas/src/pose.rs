//! People: 17 COCO keypoints each, with a place on the site plan.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Activity, SourceKind};

/// Keypoints of one person.
pub const N_KEYPOINTS: usize = 17;

/// The COCO keypoints in their order.
pub const KEYPOINT_NAMES: [&str; N_KEYPOINTS] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// The people that one estimator detected at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoseFrame {
    /// The observed place.
    pub site: String,
    /// The component that produced the frame.
    pub source: String,
    /// Capture time of the newest measurement of the frame, in nanoseconds since the Unix epoch.
    pub captured_at_ns: i64,
    /// Number of the frame within its source, from 0.
    pub frame_id: u64,
    /// The detected people, ordered by id.
    pub persons: Vec<Person>,
    /// Time from capture to the live hub in milliseconds; absent in history, so that a replay produces equal
    /// records.
    pub processing_time_ms: Option<f32>,
    /// The kind of source of the measurements.
    pub source_kind: SourceKind,
    /// The method that computed people from measurements.
    pub estimator: Estimator,
}

/// The method that computed people from measurements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Estimator {
    /// The kind of method.
    pub kind: EstimatorKind,
    /// The name of the method.
    pub name: String,
    /// Hash of the weights, for a model.
    pub hash: Option<String>,
}

/// The kind of an [`Estimator`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EstimatorKind {
    /// A model with learned weights.
    Model,
    /// Fixed rules.
    #[default]
    Heuristic,
    /// The exact poses of the simulator.
    GroundTruth,
}

/// One person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// The id is stable over the life of a track; before tracking, it is the index in the frame.
    pub id: String,
    /// The COCO keypoints, in the order of [`KEYPOINT_NAMES`].
    pub keypoints: Vec<Keypoint>,
    /// Smallest box around the keypoints.
    pub bounding_box: BoundingBox,
    /// Confidence from 0 to 1.
    pub confidence: f32,
    /// The position of the person on the site plan, if known.
    pub position: Option<SitePosition>,
    /// The zone of the person.
    pub zone: Option<String>,
    /// The activity of the person.
    pub activity: Option<Activity>,
}

impl PoseFrame {
    /// Returns the bytes of the persons and of all text.
    pub fn size_bytes(&self) -> usize {
        let Estimator { name, hash, .. } = &self.estimator;
        let estimator = name.len() + hash.as_ref().map_or(0, String::len);
        let persons = self.persons.iter().map(Person::size_bytes).sum::<usize>();
        self.site.len() + self.source.len() + estimator + persons
    }
}

impl Person {
    fn size_bytes(&self) -> usize {
        let names = self.keypoints.iter().map(|keypoint| keypoint.name.len()).sum::<usize>();
        let text = self.id.len() + self.zone.as_ref().map_or(0, String::len) + names;
        size_of::<Self>() + size_of_val(self.keypoints.as_slice()) + text
    }
}

/// A joint in the estimator's view.
///
/// A camera's view is its image. Estimators without a camera use the elevation of the room: `x` runs
/// along the plan's x axis, `y` from the ceiling (0) to the floor (1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Keypoint {
    /// COCO index from 0 to 16.
    pub id: u8,
    /// COCO name.
    pub name: String,
    /// Share of the view's width, from the left.
    pub x: f32,
    /// Share of the view's height, from the top.
    pub y: f32,
    /// Confidence from 0 to 1.
    pub confidence: f32,
}

/// A box in the estimator's view, in shares of its width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BoundingBox {
    /// Returns the smallest box around `keypoints`; an empty box at the origin if there are none.
    pub fn around(keypoints: &[Keypoint]) -> Self {
        let bounds = |values: &mut dyn Iterator<Item = f32>| {
            values.fold(None, |bounds: Option<(f32, f32)>, value| {
                let (low, high) = bounds.unwrap_or((value, value));
                Some((low.min(value), high.max(value)))
            })
        };
        let across = bounds(&mut keypoints.iter().map(|keypoint| keypoint.x));
        let down = bounds(&mut keypoints.iter().map(|keypoint| keypoint.y));
        let (Some((left, right)), Some((top, bottom))) = (across, down) else {
            return Self::default();
        };
        Self { x: left, y: top, width: right - left, height: bottom - top }
    }
}

/// A point on the site plan, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SitePosition {
    /// Along the plan's x axis.
    pub x_m: f32,
    /// Along the plan's y axis.
    pub y_m: f32,
}
