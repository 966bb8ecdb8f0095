//! `alphapose-results.json`, the list that AlphaPose writes.
//!
//! Source: AlphaPose's `docs/output.md`.

use schemas::Person;
use serde::Serialize;

use crate::detections::pictures::{Picture, mean_confidence};

#[derive(Serialize)]
pub(super) struct Result {
    image_id: String,
    category_id: u8,
    keypoints: Vec<f32>,
    /// The sum that AlphaPose sorts by, which is not between 0 and 1.
    score: f32,
    #[serde(rename = "box")]
    bounds: [f32; 4],
    /// The number of the track.
    idx: u64,
}

pub(super) fn result(picture: &Picture, person: &Person) -> Result {
    const HIGHEST_WEIGHT: f32 = 1.25;
    let confidences = person.keypoints.iter().map(|keypoint| keypoint.confidence);
    let highest = confidences.fold(0.0, f32::max);
    let name = &picture.frame.name;
    Result {
        image_id: if name.is_empty() {
            format!("{}.jpg", picture.frame.frame_id)
        } else {
            format!("{name}.jpg")
        },
        category_id: 1,
        keypoints: picture.flat_keypoints_px(person),
        score: person.confidence + mean_confidence(person) + HIGHEST_WEIGHT * highest,
        bounds: picture.box_px(person),
        idx: person.id.trim_start_matches('p').parse().unwrap_or_default(),
    }
}
