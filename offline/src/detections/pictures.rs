//! Pictures with the people in them, from lines of records.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use schemas::{BoundingBox, Keypoint, Person, PoseFrame, Record, VideoFrame};

use crate::detections::DetectionError;

/// A picture and the people in it.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) frame: VideoFrame,
    pub(super) people: PoseFrame,
}

impl Picture {
    /// Width and height of the original, in pixels.
    pub(super) fn size_px(&self) -> [f32; 2] {
        [self.frame.width, self.frame.height].map(|side| side as f32 * self.frame.scale)
    }

    /// Left, top, width and height of a person, in pixels of the original.
    pub(super) fn box_px(&self, person: &Person) -> [f32; 4] {
        let [columns, rows] = self.size_px();
        let BoundingBox { x, y, width, height } = person.bounding_box;
        [x * columns, y * rows, width * columns, height * rows].map(rounded)
    }

    /// x, y and confidence of a keypoint, in pixels of the original.
    pub(super) fn keypoint_px(&self, keypoint: &Keypoint) -> [f32; 3] {
        let [columns, rows] = self.size_px();
        [rounded(keypoint.x * columns), rounded(keypoint.y * rows), keypoint.confidence]
    }

    /// x, y and confidence of all keypoints of a person, one after the other.
    pub(super) fn flat_keypoints_px(&self, person: &Person) -> Vec<f32> {
        person.keypoints.iter().flat_map(|keypoint| self.keypoint_px(keypoint)).collect()
    }

    /// The number in the picture's name, if its name is one; otherwise the number of the picture.
    pub(super) fn image_number(&self) -> u64 {
        self.frame.name.parse().unwrap_or(self.frame.frame_id)
    }
}

/// Hundredths of a pixel are below the accuracy of any network.
fn rounded(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

/// Returns the mean confidence of the keypoints.
pub(super) fn mean_confidence(person: &Person) -> f32 {
    let sum: f32 = person.keypoints.iter().map(|keypoint| keypoint.confidence).sum();
    sum / person.keypoints.len().max(1) as f32
}

/// Reads pictures and their people side by side.
pub(super) struct Pictures {
    frames: Lines,
    people: Lines,
}

impl Pictures {
    pub(super) fn open(frames: &Path, people: &Path) -> Result<Self, DetectionError> {
        Ok(Self { frames: Lines::open(frames)?, people: Lines::open(people)? })
    }

    /// Returns the next picture that has a record of its people.
    pub(super) fn next(&mut self) -> Result<Option<Picture>, DetectionError> {
        let Some(people) = self.people.next(|record| match record {
            Record::Pose(people) => Some(people),
            _ => None,
        })?
        else {
            return Ok(None);
        };
        let frame = self.frames.next(|record| match record {
            Record::Video(frame) if frame.frame_id == people.frame_id => Some(frame),
            _ => None,
        })?;
        Ok(frame.map(|frame| Picture { frame, people }))
    }
}

/// The records of a file.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, DetectionError> {
        let failed = |source| DetectionError::Read { path: path.to_owned(), source };
        let reader = BufReader::new(File::open(path).map_err(failed)?);
        Ok(Self { path: path.to_owned(), reader, line: 0 })
    }

    /// Returns the next record that is wanted.
    fn next<T>(
        &mut self,
        wanted: impl Fn(Record) -> Option<T>,
    ) -> Result<Option<T>, DetectionError> {
        let mut text = String::new();
        loop {
            text.clear();
            self.line += 1;
            let failed = |source| DetectionError::Read { path: self.path.clone(), source };
            if self.reader.read_line(&mut text).map_err(failed)? == 0 {
                return Ok(None);
            }
            let record = serde_json::from_str(&text).map_err(|source| DetectionError::Record {
                path: self.path.clone(),
                line: self.line,
                source,
            })?;
            if let Some(record) = wanted(record) {
                return Ok(Some(record));
            }
        }
    }
}
