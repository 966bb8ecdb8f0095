//! Persons of a ground truth, in metres.

use schemas::{N_KEYPOINTS, PoseFrame};

use crate::infer::layout::InputLayout;

/// A person of the ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Position on the floor plan.
    pub position_m: [f32; 2],
    /// The x coordinate relative to the position, and the height above the floor, of each keypoint.
    pub keypoints_m: [[f32; 2]; N_KEYPOINTS],
}

impl Subject {
    /// Converts the persons of a ground truth from the room of `layout`. Skips persons without a position.
    pub fn from_truth(truth: &PoseFrame, layout: &InputLayout) -> Vec<Self> {
        let geometry = &layout.geometry;
        let subjects = truth.persons.iter().filter_map(|person| {
            let position = person.position?;
            let mut keypoints_m = [[0.0; 2]; N_KEYPOINTS];
            for (metres, keypoint) in keypoints_m.iter_mut().zip(&person.keypoints) {
                let along_m = keypoint.x * geometry.width_m - position.x_m;
                *metres = [along_m, (1.0 - keypoint.y) * geometry.height_m];
            }
            Some(Self { position_m: [position.x_m, position.y_m], keypoints_m })
        });
        subjects.collect()
    }
}
