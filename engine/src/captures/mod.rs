//! Captures by themselves: what is in them, as pictures, and as tables for other tools.

mod convert;
mod inspect;
mod links;
mod plot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemas::{CsiBatch, Record, TickLength};
use sources::{
    Clock, CsiConfig, CsiFormat, Partition, PollState, SourceConfig, SourceContext, SourceError,
    Speed, Transport,
};

pub use crate::captures::convert::convert;
pub use crate::captures::inspect::{Inspection, inspect};
pub use crate::captures::plot::plot;

/// So many bytes tell the format.
const SAMPLE_BYTES: u64 = 256 * 1024;

/// Why a capture cannot be read, or a table or a picture not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nothing in it looks like CSI.
    #[error("{path:?} is of no known format; --format names one")]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Reading ended early.
    #[error("could not read all of {path:?}")]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SourceError,
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
    #[error("{path:?} is no table that can be written: expected a name with .parquet or .arrow")]
    Table {
        /// The file.
        path: PathBuf,
    },
}

/// A capture that is read from its beginning to its end.
struct Capture {
    path: PathBuf,
    format: CsiFormat,
    partition: Partition,
    /// Records that could not be used, by reason.
    dropped: BTreeMap<&'static str, u64>,
    ended: bool,
}

impl Capture {
    /// Opens a file or a recording, of a format or of the one that it shows.
    fn open(path: &Path, format: Option<CsiFormat>) -> Result<Self, CaptureError> {
        let unknown = || CaptureError::Unknown { path: path.to_owned() };
        let is_recording = path.is_dir();
        let format = match format {
            None if is_recording => return Err(unknown()),
            None => CsiFormat::detect(&sample(path)?).ok_or_else(unknown)?,
            Some(format) => format,
        };
        let transport = if is_recording {
            Transport::Journal(path.into())
        } else {
            Transport::File(path.into())
        };
        let config = SourceConfig::Csi(CsiConfig {
            format,
            transport,
            speed: Speed::Full,
            clock: (!is_recording).then_some(Clock::Device),
            max_delay_ms: 0,
            idle_timeout_ms: 0,
            site: None,
            chip: None,
            receiver: None,
            transmitter: None,
        });
        // One tick for all, so that frames stay in their order whatever their clock says.
        let tick_length = TickLength::from_ms(u64::MAX);
        let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
        let failed = |source| CaptureError::Source { path: path.to_owned(), source };
        let partitions = config.open(&context).map_err(failed)?;
        let partition = partitions.into_iter().next().ok_or_else(unknown)?;
        let (path, dropped) = (path.to_owned(), BTreeMap::new());
        Ok(Self { path, format, partition, dropped, ended: false })
    }

    /// The next batches; none at the end.
    fn next(&mut self) -> Result<Option<Vec<CsiBatch>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let poll = self.partition.source.poll();
        let poll =
            poll.map_err(|source| CaptureError::Source { path: self.path.clone(), source })?;
        self.ended = poll.state == PollState::End;
        for dropped in poll.dropped {
            *self.dropped.entry(dropped.reason).or_default() += dropped.n_records;
        }
        let batches = poll.records.into_iter().filter_map(|(_, record)| match record {
            Record::Csi(batch) => Some(batch),
            _ => None,
        });
        Ok(Some(batches.collect()))
    }
}

/// What a file begins with.
fn sample(path: &Path) -> Result<Vec<u8>, CaptureError> {
    let read = || {
        let mut sample = Vec::new();
        File::open(path)?.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        Ok(sample)
    };
    read().map_err(|source| CaptureError::Read { path: path.to_owned(), source })
}
