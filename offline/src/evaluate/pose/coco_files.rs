//! Files of COCO: annotations of people with keypoints, and results.
//!
//! Source: cocodataset.org, "Data format" and "Results format".

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::evaluate::EvaluateError;
use crate::evaluate::pose::keypoint_precision::{Keypoints, N_KEYPOINTS, PoseResult, TruthPerson};

/// The category of people.
const PERSON: u64 = 1;

/// The people who are annotated.
pub(super) struct Truth {
    pub(super) persons: Vec<TruthPerson>,
    /// The ids of all pictures.
    pub(super) images: BTreeSet<u64>,
}

/// Reads a file of annotations.
pub(super) fn read_truth(path: &Path) -> Result<Truth, EvaluateError> {
    let file: Annotations = read(path, "annotations of keypoints")?;
    let persons = file.annotations.into_iter().filter(|person| person.category_id == PERSON);
    let persons = persons.map(|person| TruthPerson {
        image: person.image_id,
        keypoints: triples(&person.keypoints),
        bbox: person.bbox,
        area: person.area,
        is_crowd: person.iscrowd != 0,
    });
    let images = file.images.into_iter().map(|image| image.id).collect();
    Ok(Truth { persons: persons.collect(), images })
}

/// Reads a file of results.
pub(super) fn read_results(path: &Path) -> Result<Vec<PoseResult>, EvaluateError> {
    let results: Vec<Found> = read(path, "results of keypoints")?;
    let results = results.into_iter().filter(|found| found.category_id == PERSON);
    let results = results.map(|found| PoseResult {
        image: found.image_id,
        keypoints: triples(&found.keypoints),
        score: found.score,
    });
    Ok(results.collect())
}

fn read<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, EvaluateError> {
    let bytes = fs::read(path)
        .map_err(|source| EvaluateError::ReadFile { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| EvaluateError::Coco {
        path: path.to_owned(),
        expected,
        source,
    })
}

/// Returns x, y and the third value of each keypoint; missing ones are zero.
fn triples(values: &[f64]) -> Keypoints {
    let mut keypoints = [[0.0; 3]; N_KEYPOINTS];
    for (keypoint, values) in keypoints.iter_mut().zip(values.as_chunks().0) {
        *keypoint = *values;
    }
    keypoints
}

#[derive(Deserialize)]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotated>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
}

#[derive(Deserialize)]
struct Annotated {
    image_id: u64,
    #[serde(default = "person")]
    category_id: u64,
    #[serde(default)]
    keypoints: Vec<f64>,
    bbox: [f64; 4],
    area: f64,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Found {
    image_id: u64,
    #[serde(default = "person")]
    category_id: u64,
    keypoints: Vec<f64>,
    score: f64,
}

fn person() -> u64 {
    PERSON
}
