//! Captures by themselves: what is in them, as pictures, and as tables for other tools.

mod convert;
mod inspect;
mod links;
mod plot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemas::CsiBatch;
use sources::{CaptureReader, CsiFormat};

pub use crate::captures::convert::convert;
pub use crate::captures::inspect::{Inspection, inspect};
pub use crate::captures::plot::plot;

/// So many bytes tell the format.
const SAMPLE_BYTES: u64 = 256 * 1024;

/// Why a capture cannot be read, or a table or a picture not be written.
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
    /// Nothing in it looks like CSI.
    #[error("the format of {path:?} was not recognised: name it with --format")]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to draw.
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
        /// Why.
        source: io::Error,
    },
    /// The name of a table does not tell its format.
    #[error("cannot write {path:?}: expected a name that ends with .parquet or .arrow")]
    Table {
        /// The file.
        path: PathBuf,
    },
}

/// A capture that is read from its beginning to its end, in its own order.
struct Capture {
    path: PathBuf,
    format: CsiFormat,
    reader: CaptureReader,
}

impl Capture {
    /// Opens a file or a recording, of a format or of the one that it shows.
    fn open(path: &Path, format: Option<CsiFormat>) -> Result<Self, CaptureError> {
        let unknown = || CaptureError::Unknown { path: path.to_owned() };
        let format = match format {
            None if path.is_dir() => return Err(unknown()),
            None => CsiFormat::detect(&sample(path)?).ok_or_else(unknown)?,
            Some(format) => format,
        };
        let reader = CaptureReader::open(path, format)
            .map_err(|source| CaptureError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), format, reader })
    }

    /// The frames of the next record that has any; none at the end.
    fn next(&mut self) -> Result<Option<Vec<CsiBatch>>, CaptureError> {
        let frames = self.reader.next_frames();
        frames.map_err(|source| CaptureError::Read { path: self.path.clone(), source })
    }

    /// Records that could not be used, by reason.
    fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        self.reader.dropped()
    }
}

/// The first bytes of a file.
fn sample(path: &Path) -> Result<Vec<u8>, CaptureError> {
    let read = || {
        let mut sample = Vec::new();
        File::open(path)?.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        Ok(sample)
    };
    read().map_err(|source| CaptureError::Read { path: path.to_owned(), source })
}
