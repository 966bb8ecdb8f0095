//! People in pictures, by two networks.

use std::path::Path;
use std::time::Duration;

use schemas::{
    BoundingBox, Estimator, EstimatorKind, KEYPOINT_NAMES, Keypoint, Person, PoseFrame, VideoFrame,
};
use vision::pictures::{Picture, Rectangle};
use vision::{Detector, Loaded, ModelError, Pose, PoseEstimator, Subject};

use crate::estimate_pose::EstimatePoseConfig;
use crate::timed::timed;

/// The most people of a picture; the most certain ones count.
const MAX_PERSONS: usize = 64;
/// People whose poses are estimated at once, which bounds the memory.
const MAX_AT_ONCE: usize = 8;
/// Shares of the picture are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f32 = 1e4;

/// Adds busy time of a stage.
type Worked<'a> = &'a (dyn Fn(&'static str, Duration) + Send + Sync);

/// The networks of an operator.
#[derive(Debug)]
pub struct PoseNetworks {
    detector: Loaded<dyn Detector>,
    pose_estimator: Loaded<dyn PoseEstimator>,
    min_confidence: f32,
    estimator: Estimator,
}

impl PoseNetworks {
    /// Loads the networks of an operator; relative paths are relative to `directory`.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if a model is missing, or is one of another network.
    pub fn load(config: &EstimatePoseConfig, directory: &Path) -> Result<Self, ModelError> {
        let folder = match &config.models {
            Some(folder) => directory.join(folder),
            None => vision::models_folder(),
        };
        let device = vision::device();
        let detector = vision::load_detector(&folder, &config.detector, &device)?;
        let pose_estimator = vision::load_pose_estimator(&folder, &config.model, &device)?;
        let estimator = Estimator {
            kind: EstimatorKind::Model,
            name: format!("{} and {}", config.detector, config.model),
            hash: Some(format!("{} and {}", detector.hash, pose_estimator.hash)),
        };
        let min_confidence = config.min_confidence;
        Ok(Self { detector, pose_estimator, min_confidence, estimator })
    }

    /// Returns the people in each picture.
    pub(super) fn estimate(&self, frames: &[VideoFrame], worked: Worked<'_>) -> Vec<PoseFrame> {
        let pictures: Vec<_> = frames.iter().map(picture).collect();
        let whole: Vec<_> = pictures.iter().flatten().copied().collect();
        let detect = || self.detector.network.detect(&whole, self.min_confidence);
        let mut found = timed(detect, |time| worked("detect", time)).into_iter();
        let found: Vec<_> = pictures
            .iter()
            .map(|picture| picture.and_then(|_| found.next()).unwrap_or_default())
            .collect();
        let mut subjects = Vec::new();
        for (picture, found) in pictures.iter().zip(&found) {
            let Some(picture) = *picture else { continue };
            let found = found.iter().take(MAX_PERSONS);
            subjects.extend(found.map(|found| Subject { picture, rectangle: found.rectangle }));
        }
        let mut poses = timed(|| self.poses(&subjects), |time| worked("pose", time)).into_iter();
        let frames = frames.iter().zip(found);
        let persons_of = |(frame, found): (&VideoFrame, Vec<vision::Detection>)| {
            let found = found.into_iter().take(MAX_PERSONS).zip(poses.by_ref());
            let persons = found.enumerate().map(|(nth, (found, pose))| {
                person(nth, &found, &pose, [frame.width as f32, frame.height as f32])
            });
            self.frame(frame, persons.collect())
        };
        frames.map(persons_of).collect()
    }

    fn poses(&self, subjects: &[Subject<'_>]) -> Vec<Pose> {
        if subjects.is_empty() {
            Vec::new()
        } else {
            let network = &self.pose_estimator.network;
            subjects.chunks(MAX_AT_ONCE).flat_map(|subjects| network.estimate(subjects)).collect()
        }
    }

    fn frame(&self, frame: &VideoFrame, persons: Vec<Person>) -> PoseFrame {
        PoseFrame {
            site: frame.site.clone(),
            // The camera: people of several cameras are not one crowd.
            source: frame.source.clone(),
            captured_at_ns: frame.captured_at_ns,
            frame_id: frame.frame_id,
            persons,
            processing_time_ms: None,
            source_kind: frame.source_kind,
            estimator: self.estimator.clone(),
        }
    }
}

fn picture(frame: &VideoFrame) -> Option<Picture<'_>> {
    let side = |side: u32| usize::try_from(side).ok();
    Picture::new(side(frame.width)?, side(frame.height)?, &frame.pixels)
}

/// Returns a person in shares of the picture.
fn person(nth: usize, found: &vision::Detection, pose: &Pose, [width, height]: [f32; 2]) -> Person {
    let rounded = |value: f32| (value * ROUNDING).round() / ROUNDING;
    let keypoints = (0_u8..).zip(KEYPOINT_NAMES).zip(pose).map(|((id, name), at)| Keypoint {
        id,
        name: name.to_owned(),
        x: rounded(at.x / width),
        y: rounded(at.y / height),
        confidence: rounded(at.confidence),
    });
    let Rectangle { x, y, width: box_width, height: box_height } = found.rectangle;
    Person {
        id: nth.to_string(),
        keypoints: keypoints.collect(),
        bounding_box: BoundingBox {
            x: rounded(x / width),
            y: rounded(y / height),
            width: rounded(box_width / width),
            height: rounded(box_height / height),
        },
        confidence: rounded(found.confidence),
        position: None,
        zone: None,
        activity: None,
    }
}
