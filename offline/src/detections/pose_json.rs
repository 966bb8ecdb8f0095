//! `pose.json`, this project's own form: pictures in their order, with the people in each.

use schemas::{Estimator, KEYPOINT_NAMES};
use serde::Serialize;
use serde_json::json;

use crate::detections::pictures::Picture;

/// Grows when a reader of the earlier form would misunderstand the file.
const SCHEMA: &str = "fresnel.pose/1";

#[derive(Serialize)]
pub(super) struct Frame<'a> {
    /// Number of the picture, from 0.
    #[serde(rename = "frame")]
    number: u64,
    /// The picture's file without its extension; empty in a video.
    name: &'a str,
    /// From the start of the video.
    time_s: f64,
    width: f32,
    height: f32,
    persons: Vec<PersonInFrame<'a>>,
}

#[derive(Serialize)]
struct PersonInFrame<'a> {
    id: &'a str,
    confidence: f32,
    /// Left, top, width and height, in pixels.
    #[serde(rename = "box")]
    bounds: [f32; 4],
    /// x, y and confidence, in pixels.
    keypoints: Vec<[f32; 3]>,
}

/// Returns the text before the first picture.
pub(super) fn head(input: &str, estimator: Option<&Estimator>) -> String {
    let head = json!({
        "schema": SCHEMA,
        "input": input,
        "networks": estimator.map(|it| &it.name),
        "hashes": estimator.and_then(|it| it.hash.as_ref()),
        "keypoints": KEYPOINT_NAMES,
    });
    let text = head.to_string();
    format!("{},\"frames\":[", text.trim_end_matches('}'))
}

pub(super) fn frame(picture: &Picture) -> Frame<'_> {
    let [width, height] = picture.size_px();
    let persons = picture.people.persons.iter().map(|person| PersonInFrame {
        id: &person.id,
        confidence: person.confidence,
        bounds: picture.box_px(person),
        keypoints: person.keypoints.iter().map(|it| picture.keypoint_px(it)).collect(),
    });
    Frame {
        number: picture.frame.frame_id,
        name: &picture.frame.name,
        time_s: picture.frame.captured_at_ns as f64 / 1e9,
        width: width.round(),
        height: height.round(),
        persons: persons.collect(),
    }
}
