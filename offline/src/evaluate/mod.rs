//! Evaluation of motion detection on labelled recordings.
//!
//! The recordings of a session are one stream for the detector: what it calibrates in the first one is used in
//! the next one. At each half second, the reported motion is compared with the label.

mod labels;
mod scores;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use operators::{MotionConfig, MotionDetector};
use schemas::{CsiBatch, Link, Motion, Presence};

use crate::captures::{Capture, CaptureError};
use crate::evaluate::labels::{Labels, Recording};
pub use crate::evaluate::scores::{MotionScores, Scores};

const WINDOW_NS: i64 = 500_000_000;

/// A failure of an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The labels cannot be read.
    #[error("could not read the labels {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file has no labels of recordings.
    #[error("{path:?} has no labels of recordings")]
    Labels {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<toml::de::Error>,
    },
    /// A recording cannot be read.
    #[error("could not evaluate a recording")]
    Recording(#[from] CaptureError),
}

/// Detects motion in the recordings of a file of labels, and compares it with the labels.
///
/// # Errors
///
/// [`EvaluateError`] if the labels or a recording cannot be read.
pub fn evaluate_motion(labels: &Path) -> Result<MotionScores, EvaluateError> {
    let labels = Labels::load(labels)?;
    let config = labels.motion.unwrap_or_default();
    let mut scores = MotionScores::default();
    let mut sessions = BTreeMap::<_, Session>::new();
    for recording in &labels.recordings {
        let name = (recording.device.as_str(), recording.session.as_str());
        let session = sessions.entry(name).or_insert_with(|| Session::new(&config));
        scores.add(name.0, name.1, session.evaluate(recording)?);
    }
    Ok(scores)
}

/// The links of one session.
struct Session<'a> {
    config: &'a MotionConfig,
    detectors: BTreeMap<Link, MotionDetector>,
    /// The end of the recordings so far.
    now_ns: i64,
}

impl<'a> Session<'a> {
    fn new(config: &'a MotionConfig) -> Self {
        Self { config, detectors: BTreeMap::new(), now_ns: 0 }
    }

    fn evaluate(&mut self, recording: &Recording) -> Result<Scores, EvaluateError> {
        let starts_ns = self.now_ns;
        let mut reports = BTreeMap::<Link, Vec<Presence>>::new();
        for mut batch in frames(recording)? {
            for at_ns in &mut batch.captured_at_ns {
                *at_ns = at_ns.saturating_add(starts_ns);
                self.now_ns = self.now_ns.max(*at_ns);
            }
            let detector = self.detectors.entry(batch.link.clone());
            let detector = detector.or_insert_with(|| MotionDetector::new(self.config.clone()));
            detector.observe(&batch, reports.entry(batch.link.clone()).or_default());
        }
        let mut scores = Scores::default();
        let length_ns = self.now_ns - starts_ns;
        for reports in reports.values() {
            let mut before = Motion::Unknown;
            for since_start_ns in windows(length_ns) {
                let reported = motion_at(reports, starts_ns + since_start_ns);
                if since_start_ns > recording.skip.as_ns() {
                    scores.add(recording.moving.at(since_start_ns), reported, before);
                }
                before = reported;
            }
        }
        Ok(scores)
    }
}

/// Returns the frames of a recording, whose times count from its first frame.
fn frames(recording: &Recording) -> Result<Vec<CsiBatch>, CaptureError> {
    let mut capture = Capture::open(&recording.file, recording.format)?;
    let (mut batches, mut n_frames) = (Vec::new(), 0);
    while let Some(frames) = capture.next()? {
        n_frames += frames.iter().map(|batch| batch.len() as u64).sum::<u64>();
        batches.extend(frames);
    }
    capture.check_frames(n_frames)?;
    let first_ns = batches.iter().filter_map(|batch| batch.captured_at_ns.first()).min().copied();
    for at_ns in batches.iter_mut().flat_map(|batch| &mut batch.captured_at_ns) {
        *at_ns = at_ns.saturating_sub(first_ns.unwrap_or_default());
    }
    Ok(batches)
}

/// Returns the ends of the windows of a recording, since its beginning.
fn windows(length_ns: i64) -> impl Iterator<Item = i64> {
    (1..=length_ns / WINDOW_NS).map(|nth| nth * WINDOW_NS)
}

/// Returns the motion of the last report up to a time.
fn motion_at(reports: &[Presence], at_ns: i64) -> Motion {
    let n_before = reports.partition_point(|report| report.captured_at_ns <= at_ns);
    reports[..n_before].last().map_or(Motion::Unknown, |report| report.motion)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use super::*;

    /// The output of a board at a hundred frames a second: noise, and a ripple over the subcarriers that moves
    /// from one frame to the next.
    fn board(n_frames: u32, ripple: f32) -> String {
        let mut noise = 7_u32;
        let mut lines = String::new();
        for nth in 0..n_frames {
            let value = |subcarrier: u32| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let moved = (nth as f32 * 0.05 + subcarrier as f32 * 0.4).sin();
                (40.0 + ripple * moved + (noise >> 30) as f32) as i32
            };
            let values: Vec<_> = (0..64).map(value).map(|it| format!("0,{it}")).collect();
            let (values, at_us) = (values.join(","), 10_000 * nth);
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "CSI_DATA,{nth},94:d9:b3:80:8c:81,-30,11,0,0,0,0,1,0,0,0,0,-93,0,7,0,{at_us},0,67,0,128,0,\"[{values}]\""
            );
        }
        lines
    }

    #[test]
    fn labels_are_compared_with_what_is_detected() {
        let directory = tempfile::tempdir().expect("room");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("room");
        };
        write("quiet.csv", &board(1000, 0.0));
        write("moving.csv", &board(500, 15.0));
        write(
            "labels.toml",
            r#"
                recordings = [
                    { file = "quiet.csv", session = "a", device = "board", moving = false, skip = "5s" },
                    { file = "moving.csv", session = "a", device = "board", moving = [["500ms", "5s"]] },
                    { file = "quiet.csv", session = "b", device = "board", moving = true, skip = "6s" },
                ]
            "#,
        );
        let scores = evaluate_motion(&directory.path().join("labels.toml")).expect("it is right");
        let [a, b] = ["board, a", "board, b"].map(|name| scores.sessions[name]);
        assert_eq!((a.recall(), a.false_alarms()), (Some(1.0), Some(0.0)), "{scores}");
        assert_eq!((b.recall(), b.false_alarms()), (Some(0.0), None), "{scores}");
        assert_eq!(scores.total.n_windows(), a.n_windows() + b.n_windows());
        assert_eq!(scores.devices["board"], scores.total);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let directory = tempfile::tempdir().expect("room");
        let labels = directory.path().join("labels.toml");
        assert!(matches!(evaluate_motion(&labels), Err(EvaluateError::Read { .. })));
        fs::write(&labels, "recordings = [{ file = 7 }]").expect("room");
        assert!(matches!(evaluate_motion(&labels), Err(EvaluateError::Labels { .. })));
        let missing =
            r#"recordings = [{ file = "a.csv", session = "a", device = "b", moving = true }]"#;
        fs::write(&labels, missing).expect("room");
        let error = evaluate_motion(&labels).expect_err("the capture is missing");
        assert!(format!("{error:?}").contains("a.csv"), "{error:?}");
    }
}
