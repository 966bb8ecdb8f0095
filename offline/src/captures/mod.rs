//! Captures without a pipeline: summaries, plots, and tables for other tools.

mod convert;
mod inspect;
mod links;
mod plot;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemas::CsiBatch;
use sources::{CaptureReader, CsiFormat};

pub use crate::captures::convert::convert;
pub use crate::captures::inspect::{Inspection, inspect};
pub use crate::captures::plot::plot;

/// A failure to read a capture, or to write a table or a plot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file or the folder cannot be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file or the folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The format of the capture is not recognised.
    #[error("the format of {path:?} was not recognised: name it with --format")]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// The file has no content.
    #[error("{path:?} is empty")]
    NoContent {
        /// The file.
        path: PathBuf,
    },
    /// A folder is not a capture, unless it is a recording, whose format must be named.
    #[error("{path:?} is a folder: name a file in it, or the format of a recording with --format")]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The capture has no frame of the format that the user has named.
    #[error("{path:?} has no frame of the format {format}{}", detected.map_or_else(String::new, |it| {
        format!(": it looks like {}", it.as_str())
    }), format = format.as_str())]
    NoFrames {
        /// The file.
        path: PathBuf,
        /// The named format.
        format: CsiFormat,
        /// The format of the first bytes.
        detected: Option<CsiFormat>,
    },
    /// The name of the picture does not end with `.png`.
    #[error("cannot write {path:?}: expected a name that ends with .png")]
    Picture {
        /// The file.
        path: PathBuf,
    },
    /// The capture has no frames to draw.
    #[error("{path:?} has no frames to draw")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The table or the picture cannot be written.
    #[error("could not write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The name of a table has no known extension.
    #[error("cannot write {path:?}: expected a name that ends with .parquet or .arrow")]
    Table {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a capture from its beginning to its end, in its own order.
pub(crate) struct Capture {
    path: PathBuf,
    format: CsiFormat,
    /// True if the user has named the format.
    is_named: bool,
    reader: CaptureReader,
}

impl Capture {
    /// Opens a file or a recording. Without `format`, the first bytes of a file determine it; a recording
    /// needs it.
    pub(crate) fn open(path: &Path, format: Option<CsiFormat>) -> Result<Self, CaptureError> {
        let unknown = || unknown(path);
        let is_named = format.is_some();
        let format = match format {
            None if path.is_dir() => return Err(unknown()),
            None => detect(path)?.ok_or_else(unknown)?,
            Some(format) => format,
        };
        let reader = CaptureReader::open(path, format)
            .map_err(|source| CaptureError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), format, is_named, reader })
    }

    /// Returns the frames of the next record with frames; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<CsiBatch>>, CaptureError> {
        let frames = self.reader.next_frames();
        frames.map_err(|source| CaptureError::Read { path: self.path.clone(), source })
    }

    /// Fails if the capture has no frame of the format that the user has named. Call it at the end.
    pub(crate) fn check_frames(&self, n_frames: u64) -> Result<(), CaptureError> {
        if n_frames > 0 || !self.is_named {
            return Ok(());
        }
        let (path, format) = (self.path.clone(), self.format);
        let detected = if path.is_dir() { None } else { detect(&path)? };
        let detected = detected.filter(|detected| *detected != format);
        Err(CaptureError::NoFrames { path, format, detected })
    }

    /// Returns the number of dropped records, by reason.
    fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        self.reader.dropped()
    }
}

/// Returns the error of a capture whose format is not recognised.
fn unknown(path: &Path) -> CaptureError {
    let path = path.to_owned();
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => CaptureError::Folder { path },
        Ok(found) if found.len() == 0 => CaptureError::NoContent { path },
        _ => CaptureError::Unknown { path },
    }
}

/// Returns the format of the first bytes of a file; none if it is not recognised.
fn detect(path: &Path) -> Result<Option<CsiFormat>, CaptureError> {
    CsiFormat::detect_file(path)
        .map_err(|source| CaptureError::Read { path: path.to_owned(), source })
}
