//! Files of the MOTChallenge: one line for each box, `frame,id,left,top,width,height,confidence`, in pixels.
//!
//! Files of ground truth from MOT16 on have nine columns: a confidence of 0 marks boxes that are not evaluated, and the
//! eighth column is the class, of which 1 are people who walk.
//!
//! Source: A. Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", 2016, section 3.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use operators::TrackedBox;

use crate::evaluate::EvaluateError;

const N_COLUMNS: usize = 7;
const N_COLUMNS_WITH_CLASS: usize = 9;
const PERSON: f64 = 1.0;
/// The last frame that is accepted: hours of video.
const MAX_FRAME: u32 = 1 << 24;

/// One line of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    /// Left, top, width and height, in pixels.
    pub(super) bounds: [f64; 4],
    pub(super) confidence: f64,
    class: Option<f64>,
}

impl Row {
    /// Returns whether the row counts: a person whom the annotators did not mark to be ignored.
    pub(super) fn is_evaluated(&self) -> bool {
        self.confidence > 0.0 && self.class.is_none_or(|class| class == PERSON)
    }
}

/// The lines of a file, by frame; frames count from 1.
pub(super) type Rows = BTreeMap<u32, Vec<Row>>;

/// Reads a file.
///
/// # Errors
///
/// [`EvaluateError`] if the file cannot be read, or if a line has too few columns or something else than numbers.
pub(super) fn read(path: &Path) -> Result<Rows, EvaluateError> {
    let text = fs::read_to_string(path)
        .map_err(|source| EvaluateError::ReadFile { path: path.to_owned(), source })?;
    let mut rows = Rows::new();
    for (line, nth) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        let (frame, row) =
            parse(line).ok_or_else(|| EvaluateError::Line { path: path.to_owned(), line: nth })?;
        rows.entry(frame).or_default().push(row);
    }
    Ok(rows)
}

/// Writes the boxes of each frame, from frame 1 on.
///
/// # Errors
///
/// [`EvaluateError`] if the file cannot be written.
pub(super) fn write(path: &Path, frames: &[Vec<TrackedBox>]) -> Result<(), EvaluateError> {
    let mut text = String::new();
    for (boxes, frame) in frames.iter().zip(1..) {
        for TrackedBox { id, bbox: [x, y, width, height], .. } in boxes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{frame},{id},{x:.3},{y:.3},{width:.3},{height:.3},1,-1,-1,-1");
        }
    }
    fs::write(path, text)
        .map_err(|source| EvaluateError::WriteFile { path: path.to_owned(), source })
}

fn parse(line: &str) -> Option<(u32, Row)> {
    let columns: Vec<f64> =
        line.split(',').map(|text| text.trim().parse().ok()).collect::<Option<_>>()?;
    let (&[frame, id, x, y, width, height, confidence], others) = columns.split_first_chunk()?;
    let is_frame = frame.fract() == 0.0 && (1.0..=f64::from(MAX_FRAME)).contains(&frame);
    let is_box = [x, y, width, height, confidence].iter().all(|value| value.is_finite());
    if !is_frame || !is_box || width < 0.0 || height < 0.0 {
        return None;
    }
    let has_class = N_COLUMNS + others.len() == N_COLUMNS_WITH_CLASS;
    let class = if has_class { others.first().copied() } else { None };
    Some((frame as u32, Row { id: id as i64, bounds: [x, y, width, height], confidence, class }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let bounds = [1.5, 2.0, 3.0, 4.0];
        let row = |class, confidence| Row { id: 7, bounds, confidence, class };
        for (line, expected, is_evaluated) in [
            ("3,7,1.5,2,3,4,1,-1,-1,-1", row(None, 1.0), true),
            ("3, 7, 1.5, 2, 3, 4, 0.5", row(None, 0.5), true),
            ("3,7,1.5,2,3,4,1,1,0.2", row(Some(1.0), 1.0), true),
            ("3,7,1.5,2,3,4,1,3,0.2", row(Some(3.0), 1.0), false),
            ("3,7,1.5,2,3,4,0,1,0.2", row(Some(1.0), 0.0), false),
        ] {
            assert_eq!(parse(line), Some((3, expected)), "{line}");
            assert_eq!(expected.is_evaluated(), is_evaluated, "{line}");
        }
        for line in
            ["", "1,2,3", "a,7,1,2,3,4,1", "0,7,1,2,3,4,1", "1.5,7,1,2,3,4,1", "1,7,1,2,-3,4,1"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(parse("1,7,1,2,inf,4,1"), None);
    }
}
