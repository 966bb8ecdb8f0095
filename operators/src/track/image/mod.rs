//! Multi-object tracking in the picture: assigns people an identity that persists from frame to frame.
//!
//! A Kalman filter predicts the box of each track. Detections are associated with the tracks that they
//! overlap most: confident detections first, then the others, for people whose score drops while they are
//! partly hidden. If both sides have keypoints, their similarity counts as much as the overlap, so that
//! people who cross keep their identities.
//!
//! Source: A. Bewley et al., "Simple online and realtime tracking", ICIP 2016; Y. Zhang et al.,
//! "`ByteTrack`: multi-object tracking by associating every detection box", ECCV 2022 (two stages by score).

mod kalman;
mod similarity;

use serde::{Deserialize, Serialize};

use crate::assignment::assign;
use crate::track::MAX_TRACKS;
use crate::track::image::kalman::{Kalman, Noise};
use crate::track::image::similarity::{Keypoints, Pose, object_keypoint_similarity};

pub use crate::track::image::similarity::intersection_over_union;

/// Settings of an [`ImageTracker`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageTrackOptions {
    /// Least score of a detection that begins a track or is associated first, from 0 to 1; 0.5 by default.
    pub confident_score: f64,
    /// Least similarity of a track to a confident detection, from 0 to 1; 0.34 by default.
    pub min_similarity: f64,
    /// Least similarity of a track to another detection, from 0 to 1; 0.5 by default.
    pub min_similarity_unsure: f64,
    /// Detections in consecutive frames that confirm a tentative track; 2 by default.
    pub confirm_detections: u32,
    /// How long a track without a detection is kept, in seconds; 1.2 by default.
    pub max_unseen_s: f64,
    /// How long a track without a detection is shown at its predicted box, in seconds; 0.05 by default,
    /// which is one frame of ordinary video. 0 shows detected people only.
    pub max_coast_s: f64,
    /// How fast people change their velocity: the standard deviation of the change within a second, per
    /// second, in standard deviations of a detected centre; 5.5 by default.
    pub acceleration: f64,
    /// How fast boxes change their size: the standard deviation of the change within a second, in standard
    /// deviations of a detected width or height; 2.2 by default.
    pub resizing: f64,
}

impl Default for ImageTrackOptions {
    fn default() -> Self {
        Self {
            confident_score: 0.5,
            min_similarity: 0.34,
            min_similarity_unsure: 0.5,
            confirm_detections: 2,
            max_unseen_s: 1.2,
            max_coast_s: 0.05,
            acceleration: 5.5,
            resizing: 2.2,
        }
    }
}

/// A detected person.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoxDetection<'a> {
    /// Bounding box as `[x, y, width, height]`, with the corner of least x and y, in pixels.
    pub bbox: [f64; 4],
    /// Confidence of the detector, from 0 to 1.
    pub score: f64,
    /// Keypoints in pixels, if the detector estimates poses.
    pub keypoints: Option<&'a Keypoints>,
}

impl BoxDetection<'_> {
    /// True for a finite box with an area, and a score.
    fn is_valid(&self) -> bool {
        let [_, _, width, height] = self.bbox;
        self.bbox.iter().all(|side| side.is_finite())
            && width > 0.0
            && height > 0.0
            && !self.score.is_nan()
    }
}

/// The box of a confirmed track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackedBox {
    /// Identity of the person, from 1 in the order of birth.
    pub id: u64,
    /// Filtered or, without a detection, predicted box `[x, y, width, height]`, in pixels.
    pub bbox: [f64; 4],
    /// Index of the person's detection in the last step.
    pub detection: Option<usize>,
}

/// The people in the pictures of one camera.
///
/// - Equal input gives equal output: nothing depends on a clock or on randomness.
/// - Tracks are in the order of their birth, and so are their ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImageTracker {
    #[serde(skip)]
    options: ImageTrackOptions,
    tracks: Vec<Track>,
    n_ids: u64,
    /// True for each valid detection of the frame without a track.
    #[serde(skip)]
    free: Vec<bool>,
    #[serde(skip)]
    stage: Candidates,
}

/// Tracks and detections of one stage of the association, by index; kept for their memory.
#[derive(Clone, Debug, Default)]
struct Candidates {
    tracks: Vec<usize>,
    detections: Vec<usize>,
    /// `[tracks × detections]`
    costs: Vec<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    /// `None` while the track is tentative.
    id: Option<u64>,
    kalman: Kalman,
    pose: Option<Pose>,
    n_detections: u32,
    unseen_s: f64,
    /// Index of the detection in the last step.
    detection: Option<usize>,
}

/// One stage of the association.
#[derive(Clone, Copy)]
struct Stage {
    confirmed: bool,
    confident: bool,
    min_similarity: f64,
}

impl ImageTracker {
    /// Returns a tracker without tracks.
    pub fn new(options: ImageTrackOptions) -> Self {
        Self {
            options,
            tracks: Vec::new(),
            n_ids: 0,
            free: Vec::new(),
            stage: Candidates::default(),
        }
    }

    /// Replaces the settings.
    pub fn configure(&mut self, options: ImageTrackOptions) {
        self.options = options;
    }

    /// Advances the tracks to the next frame, `elapsed_s` seconds after the last one, and returns the pairs
    /// of detection index and track id, in the order of ids.
    ///
    /// A track is tentative, and has no id, until its second detection in a row; the tracks of the first
    /// frame with people are confirmed at once. Detections with an empty or infinite box are ignored. A
    /// negative `elapsed_s` counts as 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use operators::{BoxDetection, ImageTrackOptions, ImageTracker};
    ///
    /// let mut tracker = ImageTracker::new(ImageTrackOptions::default());
    /// let person = |x| BoxDetection { bbox: [x, 50.0, 40.0, 100.0], score: 0.9, keypoints: None };
    /// assert_eq!(tracker.step(0.04, &[person(10.0), person(200.0)]), [(0, 1), (1, 2)]);
    /// assert_eq!(tracker.step(0.04, &[person(199.0), person(12.0)]), [(1, 1), (0, 2)]);
    /// ```
    pub fn step(&mut self, elapsed_s: f64, detections: &[BoxDetection]) -> Vec<(usize, u64)> {
        self.predict(elapsed_s.max(0.0));
        self.free.clear();
        self.free.extend(detections.iter().map(BoxDetection::is_valid));
        for stage in self.stages() {
            self.associate(detections, stage);
        }
        self.begin(detections);
        self.confirm();
        let pairs = self.tracks.iter().filter_map(|track| Some((track.detection?, track.id?)));
        pairs.collect()
    }

    /// Returns the boxes of the confirmed tracks after the last step, in the order of ids.
    ///
    /// A track without a detection in the last step is included for [`ImageTrackOptions::max_coast_s`]. A filtered box
    /// fits a person better than the detected one does, because the errors of single detections average out.
    pub fn boxes(&self) -> impl Iterator<Item = TrackedBox> {
        let shown = self.tracks.iter().filter(|track| track.unseen_s <= self.options.max_coast_s);
        shown.filter_map(|track| {
            Some(TrackedBox {
                id: track.id?,
                bbox: track.kalman.bbox(),
                detection: track.detection,
            })
        })
    }

    /// Ends the tracks that are unseen for too long, and predicts the boxes of the others.
    fn predict(&mut self, elapsed_s: f64) {
        let ImageTrackOptions { acceleration, resizing, max_unseen_s, .. } = self.options;
        self.tracks.retain(|track| track.lives(elapsed_s, max_unseen_s));
        for track in &mut self.tracks {
            track.kalman.predict(elapsed_s, Noise { acceleration, resizing });
            track.unseen_s += elapsed_s;
            track.detection = None;
        }
    }

    fn stages(&self) -> [Stage; 3] {
        let ImageTrackOptions { min_similarity, min_similarity_unsure, .. } = self.options;
        let confident = Stage { confirmed: true, confident: true, min_similarity };
        let unsure = Stage { confident: false, min_similarity: min_similarity_unsure, ..confident };
        let tentative = Stage { confirmed: false, ..confident };
        [confident, unsure, tentative]
    }

    /// Associates the tracks and the free detections of a stage.
    fn associate(&mut self, detections: &[BoxDetection], stage: Stage) {
        self.select(detections, stage);
        self.compare(detections, stage.min_similarity);
        let Candidates { tracks, detections: indices, costs } = &self.stage;
        let assigned = assign(costs, tracks.len(), indices.len());
        for (track, column) in tracks.iter().zip(assigned) {
            if let Some(index) = column.map(|column| indices[column]) {
                self.tracks[*track].see(index, &detections[index]);
                self.free[index] = false;
            }
        }
    }

    /// Selects the tracks and detections that take part in a stage.
    fn select(&mut self, detections: &[BoxDetection], stage: Stage) {
        let confident_score = self.options.confident_score;
        let tracks = self.tracks.iter().enumerate().filter(|(_, track)| {
            track.detection.is_none() && track.id.is_some() == stage.confirmed
        });
        let free =
            detections.iter().zip(&self.free).enumerate().filter(|(_, (detection, is_free))| {
                **is_free && (detection.score >= confident_score) == stage.confident
            });
        self.stage.tracks.clear();
        self.stage.tracks.extend(tracks.map(|(index, _)| index));
        self.stage.detections.clear();
        self.stage.detections.extend(free.map(|(index, _)| index));
    }

    /// Computes the costs of the selected pairs, infinite below the least similarity.
    fn compare(&mut self, detections: &[BoxDetection], min_similarity: f64) {
        let Candidates { tracks, detections: indices, costs } = &mut self.stage;
        costs.clear();
        for track in tracks.iter().map(|index| &self.tracks[*index]) {
            let bbox = track.kalman.bbox();
            costs.extend(indices.iter().map(|index| {
                let similarity = track.similarity(&bbox, &detections[*index]);
                if similarity >= min_similarity { 1.0 - similarity } else { f64::INFINITY }
            }));
        }
    }

    /// Begins a tentative track for each confident detection without a track.
    fn begin(&mut self, detections: &[BoxDetection]) {
        let confident_score = self.options.confident_score;
        let free = detections.iter().zip(&self.free).enumerate();
        let new = free
            .filter(|(_, (detection, is_free))| **is_free && detection.score >= confident_score);
        let n_free_places = MAX_TRACKS.saturating_sub(self.tracks.len());
        let new = new.map(|(index, (detection, _))| Track::begin(index, detection));
        self.tracks.extend(new.take(n_free_places));
    }

    /// Confirms the tracks with enough detections; in the first frame with people, all.
    fn confirm(&mut self) {
        let is_first = self.n_ids == 0;
        for track in self.tracks.iter_mut().filter(|track| track.id.is_none()) {
            if is_first || track.n_detections >= self.options.confirm_detections {
                self.n_ids += 1;
                track.id = Some(self.n_ids);
            }
        }
    }
}

impl Track {
    fn begin(index: usize, detection: &BoxDetection) -> Self {
        let kalman = Kalman::at(&detection.bbox);
        let mut track = Self {
            id: None,
            kalman,
            pose: None,
            n_detections: 1,
            unseen_s: 0.0,
            detection: Some(index),
        };
        track.pose = track.pose_of(detection);
        track
    }

    /// True until the track is unseen for too long; a tentative track ends with its first miss.
    fn lives(&self, elapsed_s: f64, max_unseen_s: f64) -> bool {
        self.unseen_s + elapsed_s <= max_unseen_s && (self.id.is_some() || self.detection.is_some())
    }

    /// Returns the similarity to a detection, from 0 to 1, if `bbox` is the predicted box of the track.
    ///
    /// This is the intersection over union or, if both have keypoints, its mean with the object keypoint
    /// similarity. The larger of both would not tell two people apart whose boxes overlap as much as the
    /// boxes of one.
    fn similarity(&self, bbox: &[f64; 4], detection: &BoxDetection) -> f64 {
        let overlap = intersection_over_union(bbox, &detection.bbox);
        // Poses of people whose boxes are apart do not match either.
        if overlap == 0.0 {
            return 0.0;
        }
        match self.pose_similarity(bbox, detection) {
            Some(similarity) => f64::midpoint(overlap, similarity),
            None => overlap,
        }
    }

    fn pose_similarity(&self, bbox: &[f64; 4], detection: &BoxDetection) -> Option<f64> {
        let [_, _, width, height] = detection.bbox;
        let predicted = self.pose.as_ref()?.moved_to(*bbox);
        object_keypoint_similarity(&predicted, detection.keypoints?, width * height)
    }

    /// Updates the track by its detection, which has `index` in the frame.
    fn see(&mut self, index: usize, detection: &BoxDetection) {
        self.kalman.update(&detection.bbox);
        self.pose = self.pose_of(detection);
        self.n_detections = self.n_detections.saturating_add(1);
        self.unseen_s = 0.0;
        self.detection = Some(index);
    }

    /// Returns the detected pose relative to the filtered box, which the prediction starts from.
    fn pose_of(&self, detection: &BoxDetection) -> Option<Pose> {
        Some(Pose::within(detection.keypoints?, self.kalman.bbox()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_S: f64 = 0.04;

    fn person(x: f64) -> BoxDetection<'static> {
        BoxDetection { bbox: [x, 50.0, 40.0, 100.0], score: 0.9, keypoints: None }
    }

    /// The pairs of each frame.
    fn pairs(frames: &[&[BoxDetection]]) -> Vec<Vec<(usize, u64)>> {
        let mut tracker = ImageTracker::new(ImageTrackOptions::default());
        frames.iter().map(|detections| tracker.step(FRAME_S, detections)).collect()
    }

    #[test]
    fn ids_follow_people() {
        const NOBODY: &[BoxDetection] = &[];
        let [one, other] = [&[person(10.0)][..], &[person(300.0)]];
        let unsure = &[BoxDetection { score: 0.2, ..person(12.0) }][..];
        for (name, frames, expected) in [
            (
                "the order within a frame does not matter",
                vec![&[person(10.0), person(300.0)][..], &[person(301.0), person(11.0)]],
                vec![vec![(0, 1), (1, 2)], vec![(1, 1), (0, 2)]],
            ),
            (
                "a glimpse is not confirmed and takes no id",
                vec![one, &[person(10.0), person(300.0)], one, &[person(10.0), person(600.0)]],
                vec![vec![(0, 1)]; 4],
            ),
            (
                "a newcomer is confirmed by the second detection",
                vec![one, &[person(10.0), person(300.0)], &[person(10.0), person(300.0)]],
                vec![vec![(0, 1)], vec![(0, 1)], vec![(0, 1), (1, 2)]],
            ),
            (
                "a missed person keeps the id",
                vec![one, NOBODY, NOBODY, one],
                vec![vec![(0, 1)], vec![], vec![], vec![(0, 1)]],
            ),
            (
                "someone else far away has another id",
                vec![one, other, other],
                vec![vec![(0, 1)], vec![], vec![(0, 2)]],
            ),
            ("a low score continues a track", vec![one, unsure, one], vec![vec![(0, 1)]; 3]),
            ("a low score begins no track", vec![unsure; 3], vec![vec![]; 3]),
        ] {
            assert_eq!(pairs(&frames), expected, "{name}");
        }
    }

    #[test]
    fn durations_do_not_depend_on_the_frame_rate() {
        for frames_per_s in [5_u8, 25, 60] {
            for (unseen_s, expected) in [(0.9, 1), (1.5, 2)] {
                let elapsed_s = 1.0 / f64::from(frames_per_s);
                let n_unseen = (unseen_s / elapsed_s) as usize;
                let mut tracker = ImageTracker::new(ImageTrackOptions::default());
                for detections in [vec![&[person(10.0)][..]; 9], vec![&[]; n_unseen]].concat() {
                    tracker.step(elapsed_s, detections);
                }
                tracker.step(elapsed_s, &[person(10.0)]);
                let found = tracker.step(elapsed_s, &[person(10.0)]);
                assert_eq!(found, [(0, expected)], "{frames_per_s} frames/s, {unseen_s} s");
            }
        }
    }

    #[test]
    fn a_missed_person_is_shown_for_a_moment() {
        let mut tracker = ImageTracker::new(ImageTrackOptions::default());
        for x in [10.0, 14.0, 18.0, 22.0] {
            tracker.step(FRAME_S, &[person(x)]);
        }
        assert!(tracker.step(FRAME_S, &[]).is_empty());
        let shown: Vec<_> = tracker.boxes().collect();
        assert_eq!((shown.len(), shown[0].id, shown[0].detection), (1, 1, None));
        assert!((shown[0].bbox[0] - 26.0).abs() < 0.5, "{shown:?}");
        tracker.step(FRAME_S, &[]);
        assert_eq!(tracker.boxes().count(), 0);
    }

    #[test]
    fn keypoints_tell_people_at_one_place_apart() {
        // One person stretches the arms up, the other lets them hang.
        let posed = |x: f64, y: f64| [[x, y, 0.9]; 17];
        let (up, down) = (posed(30.0, 60.0), posed(30.0, 140.0));
        let with = |x: f64, keypoints| BoxDetection { keypoints: Some(keypoints), ..person(x) };
        let before = [with(10.0, &up), with(12.0, &down)];
        let after = [with(10.0, &down), with(12.0, &up)];
        assert_eq!(pairs(&[&before, &after]), [[(0, 1), (1, 2)], [(1, 1), (0, 2)]]);
        let plain = |detections: [BoxDetection; 2]| {
            detections.map(|it| BoxDetection { keypoints: None, ..it })
        };
        assert_eq!(pairs(&[&plain(before), &plain(after)]), [[(0, 1), (1, 2)]; 2]);
    }

    #[test]
    fn keypoints_that_nobody_shares_change_nothing() {
        let absent = [[0.0; 3]; 17];
        let frames: Vec<[_; 2]> =
            (0..20_u8).map(|nth| [person(f64::from(nth)), person(60.0)]).collect();
        let posed = frames
            .iter()
            .map(|frame| frame.map(|it| BoxDetection { keypoints: Some(&absent), ..it }));
        let posed: Vec<_> = posed.collect();
        let both = [&frames, &posed].map(|frames| {
            let mut tracker = ImageTracker::new(ImageTrackOptions::default());
            let steps = frames.iter().map(|frame| {
                let pairs = tracker.step(FRAME_S, frame);
                (pairs, tracker.boxes().collect::<Vec<_>>())
            });
            steps.collect::<Vec<_>>()
        });
        assert_eq!(both[0], both[1]);
    }

    #[test]
    fn any_input_will_do() {
        let odd = [0.0, -1.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5.0];
        let mut tracker = ImageTracker::new(ImageTrackOptions::default());
        for elapsed_s in odd {
            let keypoints = [[elapsed_s; 3]; 17];
            for (x, size) in odd.into_iter().flat_map(|x| odd.map(|size| (x, size))) {
                let odd = BoxDetection {
                    bbox: [x, x, size, size],
                    score: x,
                    keypoints: Some(&keypoints),
                };
                tracker.step(elapsed_s, &[odd, person(10.0), odd]);
                assert!(tracker.boxes().all(|it| it.bbox.iter().all(|side| !side.is_nan())));
            }
        }
        tracker.step(FRAME_S, &[person(10.0)]);
        assert_eq!(tracker.step(FRAME_S, &[person(10.0)]).len(), 1);
    }

    #[test]
    fn tracks_are_bounded() {
        let crowd: Vec<_> = (0..2 * MAX_TRACKS).map(|nth| person(100.0 * nth as f64)).collect();
        for pairs in pairs(&[&crowd, &crowd]) {
            assert_eq!(pairs.len(), MAX_TRACKS);
        }
    }
}
