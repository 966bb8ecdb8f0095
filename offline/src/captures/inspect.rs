//! Summaries of captures.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use sources::CsiFormat;

use crate::CaptureError;
use crate::captures::Capture;
use crate::captures::links::{LinkSummary, Links};

/// The summary of a capture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Its format.
    pub format: CsiFormat,
    /// Frames of all links.
    pub n_frames: u64,
    /// Number of dropped records, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Its links, by receiver and transmitter.
    pub links: Vec<LinkSummary>,
}

/// Summarises a capture. Without `format`, the first bytes of the file determine it.
///
/// # Errors
///
/// [`CaptureError`] if the capture cannot be read, its format is unknown, or it has no frame.
pub fn inspect(capture: &Path, format: Option<CsiFormat>) -> Result<Inspection, CaptureError> {
    let mut capture = Capture::open(capture, format)?;
    let mut links = Links::default();
    while let Some(batches) = capture.next()? {
        for batch in &batches {
            links.add(batch);
        }
    }
    let links = links.summaries();
    let n_frames = links.iter().map(|link| link.n_frames).sum();
    capture.check_frames(n_frames)?;
    let (format, dropped) = (capture.format, capture.dropped().clone());
    Ok(Inspection { format, n_frames, dropped, links })
}

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_dropped: u64 = self.dropped.values().sum();
        writeln!(formatter, "format: {}", self.format.as_str())?;
        writeln!(
            formatter,
            "frames: {}, and {n_dropped} records that could not be used",
            self.n_frames
        )?;
        for (reason, n_records) in &self.dropped {
            writeln!(formatter, "  {reason}: {n_records}")?;
        }
        self.links.iter().try_for_each(|link| write!(formatter, "{link}"))
    }
}
