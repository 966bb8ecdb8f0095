//! The files of `fresnel detect`: people in pictures, in this project's own form, in AlphaPose's and in COCO's.
//!
//! They are written from the records of a pipeline, one picture at a time, so that their size does not matter.

mod alpha_pose;
mod coco_results;
mod json_list;
mod pictures;
mod pose_json;

use std::io;
use std::path::{Path, PathBuf};

use schemas::Estimator;

use crate::detections::json_list::JsonList;
use crate::detections::pictures::Pictures;

/// The records of a pipeline, and where to write the files.
#[derive(Clone, Debug)]
pub struct DetectionFiles<'a> {
    /// Lines of pictures, without their pixels.
    pub frames: &'a Path,
    /// Lines of people, one for each picture.
    pub people: &'a Path,
    /// The folder to write to.
    pub output: &'a Path,
    /// The name of the input, for `pose.json`.
    pub input: &'a str,
}

/// The numbers of pictures and people in a video.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct DetectionSummary {
    /// Number of pictures.
    pub n_frames: u64,
    /// Number of people, counted once in each picture.
    pub n_persons: u64,
    /// Number of pictures with people.
    pub n_frames_with_persons: u64,
    /// Event time from the first picture to the last one.
    pub duration_s: f64,
    /// The networks.
    pub estimator: Option<Estimator>,
}

impl DetectionSummary {
    /// Returns the mean rate of the pictures; 25 if there are too few to know it.
    pub fn frames_per_s(&self) -> f64 {
        const USUAL: f64 = 25.0;
        let n_intervals = self.n_frames.saturating_sub(1) as f64;
        if self.duration_s > 0.0 { n_intervals / self.duration_s } else { USUAL }
    }
}

/// A failure to write detections.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectionError {
    /// Records cannot be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A line is not a record.
    #[error("line {line} of {path:?} is not a record")]
    Record {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// The cause.
        source: serde_json::Error,
    },
    /// A file cannot be written.
    #[error("could not write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Writes `pose.json`, `alphapose-results.json` and `coco-results.json`.
///
/// # Errors
///
/// [`DetectionError`] if a file cannot be read or written.
pub fn write_detections(files: &DetectionFiles<'_>) -> Result<DetectionSummary, DetectionError> {
    let mut summary = DetectionSummary::default();
    let mut pictures = Pictures::open(files.frames, files.people)?;
    let first = pictures.next()?;
    summary.estimator = first.as_ref().map(|picture| picture.people.estimator.clone());
    let head = pose_json::head(files.input, summary.estimator.as_ref());
    let mut pose = JsonList::create(&files.output.join("pose.json"), &head, "]}\n")?;
    let mut alpha_pose =
        JsonList::create(&files.output.join("alphapose-results.json"), "[", "]\n")?;
    let mut coco = JsonList::create(&files.output.join("coco-results.json"), "[", "]\n")?;
    let first_ns = first.as_ref().map_or(0, |picture| picture.frame.captured_at_ns);
    let mut next = first;
    while let Some(picture) = next {
        pose.push(&pose_json::frame(&picture))?;
        for person in &picture.people.persons {
            alpha_pose.push(&alpha_pose::result(&picture, person))?;
            coco.push(&coco_results::result(&picture, person))?;
        }
        let n_persons = picture.people.persons.len() as u64;
        summary.n_frames += 1;
        summary.duration_s = (picture.frame.captured_at_ns - first_ns) as f64 / 1e9;
        summary.n_persons += n_persons;
        summary.n_frames_with_persons += u64::from(n_persons > 0);
        next = pictures.next()?;
    }
    for list in [pose, alpha_pose, coco] {
        list.finish()?;
    }
    Ok(summary)
}
