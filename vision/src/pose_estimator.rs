//! What estimators of poses have in common.

use std::fmt::Debug;

use crate::pictures::{Picture, Rectangle};

/// Keypoints of a person, in the order of COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, the
/// left one first.
pub const N_KEYPOINTS: usize = 17;

/// A keypoint in a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keypoint {
    /// In pixels from the left edge.
    pub x: f32,
    /// In pixels from the upper edge.
    pub y: f32,
    /// Confidence between 0 and 1.
    pub confidence: f32,
}

/// The keypoints of a person.
pub type Pose = [Keypoint; N_KEYPOINTS];

/// A person in a picture, whose pose is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The picture.
    pub picture: Picture<'a>,
    /// Around the person.
    pub rectangle: Rectangle,
}

/// Finds the keypoints of people.
pub trait PoseEstimator: Debug + Send + Sync {
    /// Returns the pose of each person. It does not depend on the others.
    fn estimate(&self, subjects: &[Subject<'_>]) -> Vec<Pose>;
}

/// Keypoints that change places in a mirror.
pub(crate) const MIRRORED: [usize; N_KEYPOINTS] =
    [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15];
