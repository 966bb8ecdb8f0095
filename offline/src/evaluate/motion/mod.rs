//! Evaluation of motion detection on labelled recordings.
//!
//! The detector of a link reads the recordings of a session one after another, and keeps its calibration. At the
//! end of each half second with frames of the link, the reported motion is compared with the label.

mod labels;
mod scores;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use operators::{MotionConfig, MotionDetector};
use schemas::{Link, Motion, Presence};

use crate::captures::{Capture, CaptureError};
use crate::evaluate::EvaluateError;
use crate::evaluate::motion::labels::{Labels, Recording};
pub use crate::evaluate::motion::scores::{MotionScores, Scores};

const WINDOW_NS: i64 = 500_000_000;

/// Detects motion in the recordings of a file of labels, and compares it with the labels.
///
/// # Errors
///
/// [`EvaluateError`] if the labels or a recording cannot be read.
pub fn evaluate_motion(path: &Path) -> Result<MotionScores, EvaluateError> {
    let labels = Labels::load(path)?;
    let config = labels.motion.unwrap_or_default();
    let mut scores = MotionScores::default();
    let mut sessions = BTreeMap::<_, Session>::new();
    for recording in &labels.recordings {
        let name = (recording.device.as_str(), recording.session.as_str());
        let session = sessions.entry(name).or_insert_with(|| Session::new(&config));
        scores.add(name.0, name.1, session.evaluate(recording)?);
    }
    if scores.total.n_windows() == 0 {
        return Err(EvaluateError::NothingLeft { path: path.to_owned() });
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
        let links = self.detect(recording)?;
        let mut scores = Scores::default();
        for Detected { reports, windows } in links.values() {
            let mut before = Motion::Unknown;
            for end_ns in windows.iter().map(|window| (window + 1).saturating_mul(WINDOW_NS)) {
                let reported = motion_at(reports, starts_ns.saturating_add(end_ns));
                let is_whole = starts_ns.saturating_add(end_ns) <= self.now_ns;
                if end_ns > recording.skip.as_ns() && is_whole {
                    scores.add(recording.moving.at(end_ns), reported, before);
                }
                before = reported;
            }
        }
        Ok(scores)
    }

    /// Reads a recording, whose times count from its first frame and follow the earlier recordings.
    fn detect(&mut self, recording: &Recording) -> Result<BTreeMap<Link, Detected>, CaptureError> {
        let mut capture = Capture::open(&recording.file, recording.format)?;
        let mut links = BTreeMap::<Link, Detected>::new();
        let (starts_ns, mut first_ns, mut n_frames) = (self.now_ns, None, 0);
        while let Some(batches) = capture.next()? {
            for mut batch in batches {
                let link = links.entry(batch.link.clone()).or_default();
                n_frames += batch.len() as u64;
                for at_ns in &mut batch.captured_at_ns {
                    let since_start_ns = at_ns.saturating_sub(*first_ns.get_or_insert(*at_ns));
                    link.windows.insert(since_start_ns.div_euclid(WINDOW_NS));
                    *at_ns = starts_ns.saturating_add(since_start_ns);
                    self.now_ns = self.now_ns.max(*at_ns);
                }
                let detector = self.detectors.entry(batch.link.clone());
                let detector = detector.or_insert_with(|| MotionDetector::new(self.config.clone()));
                detector.observe(&batch, &mut link.reports);
            }
        }
        capture.check_frames(n_frames)?;
        Ok(links)
    }
}

/// The reports of one link in one recording.
#[derive(Default)]
struct Detected {
    reports: Vec<Presence>,
    /// The windows with frames: a clock that jumps makes no windows in between.
    windows: BTreeSet<i64>,
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
    fn a_clock_that_jumps_makes_no_windows() {
        let directory = tempfile::tempdir().expect("room");
        let jumped = board(100, 0.0).replace(",990000,", ",4000000000,");
        fs::write(directory.path().join("board.csv"), jumped).expect("room");
        let labels = directory.path().join("labels.toml");
        let recordings =
            r#"recordings = [{ file = "board.csv", session = "a", device = "b", moving = false }]"#;
        fs::write(&labels, recordings).expect("room");
        let n_windows = evaluate_motion(&labels).expect("it is right").total.n_windows();
        assert!((1..=3).contains(&n_windows), "{n_windows}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let directory = tempfile::tempdir().expect("room");
        let labels = directory.path().join("labels.toml");
        assert!(matches!(evaluate_motion(&labels), Err(EvaluateError::Read { .. })));
        fs::write(&labels, "recordings = [{ file = 7 }]").expect("room");
        assert!(matches!(evaluate_motion(&labels), Err(EvaluateError::Labels { .. })));
        for (text, expected) in [
            ("recordings = []", "no recordings"),
            ("motion = { threshold = 2.0 }\nrecordings = []", "threshold must be"),
            (
                r#"recordings = [{ file = "a", session = "a", device = "b", moving = [["5s", "1s"]] }]"#,
                "ends before it begins",
            ),
        ] {
            fs::write(&labels, text).expect("room");
            let error = evaluate_motion(&labels).expect_err("it is wrong").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing =
            r#"recordings = [{ file = "a.csv", session = "a", device = "b", moving = true }]"#;
        fs::write(&labels, missing).expect("room");
        let error = evaluate_motion(&labels).expect_err("the capture is missing");
        assert!(format!("{error:?}").contains("a.csv"), "{error:?}");
    }
}
