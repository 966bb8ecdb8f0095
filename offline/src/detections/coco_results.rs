//! `coco-results.json`, which COCO's evaluation reads.
//!
//! Source: cocodataset.org, "Results format".

use schemas::Person;
use serde::Serialize;

use crate::detections::pictures::{Picture, mean_confidence};

#[derive(Serialize)]
pub(super) struct Result {
    image_id: u64,
    category_id: u8,
    keypoints: Vec<f32>,
    /// Confidence of the person and its keypoints, between 0 and 1.
    score: f32,
}

pub(super) fn result(picture: &Picture, person: &Person) -> Result {
    Result {
        image_id: picture.image_number(),
        category_id: 1,
        keypoints: picture.flat_keypoints_px(person),
        score: person.confidence * mean_confidence(person),
    }
}
