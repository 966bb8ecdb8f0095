//! Serial ports: each line is a record; its time is the time that its end came in.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;
use serialport::SerialPort;

use crate::journal::{Beyond, Origin, Writer};
use crate::transport::unix_ns;
use crate::{Receiver, SourceError};

/// How long to wait for bytes before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// How soon to look whether a board is plugged in again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 64 * 1024;
/// A line that is longer is cut: whatever it is, it is no record.
const LONGEST_LINE: usize = 64 * 1024;

/// A port with a board at its other end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SerialLine {
    /// The port, such as "/dev/ttyUSB0".
    pub path: PathBuf,
    /// Bits per second; 921600 by default.
    #[serde(default = "default_baud")]
    pub baud: u32,
}

fn default_baud() -> u32 {
    921_600
}

impl SerialLine {
    fn open(&self) -> Result<Box<dyn SerialPort>, serialport::Error> {
        serialport::new(self.path.to_string_lossy(), self.baud).timeout(PATIENCE).open()
    }
}

/// An open port, and the journal that it fills.
pub(super) struct Serial {
    line: SerialLine,
    /// None while the board is unplugged.
    port: Option<Box<dyn SerialPort>>,
    folder: PathBuf,
    journal: Writer,
    /// The beginning of a line.
    begun: Vec<u8>,
    buffer: Vec<u8>,
}

impl Serial {
    pub(super) fn open(
        line: &SerialLine,
        folder: &Path,
        journal: Writer,
    ) -> Result<Self, SourceError> {
        let port = line
            .open()
            .map_err(|source| SourceError::Serial { path: line.path.clone(), source })?;
        let (line, folder, buffer) = (line.clone(), folder.to_owned(), vec![0; READ_BYTES]);
        Ok(Self { line, port: Some(port), folder, journal, begun: Vec::new(), buffer })
    }

    /// Reads what is there, or waits for it for a moment. An unplugged board is silent.
    fn read(&mut self) -> Beyond {
        let Some(port) = &mut self.port else {
            thread::sleep(LOOK_AGAIN);
            self.port = self.line.open().ok();
            return Beyond::Nothing;
        };
        match port.read(&mut self.buffer) {
            Ok(n_bytes) if n_bytes > 0 => {
                self.take(n_bytes);
                Beyond::More
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                Beyond::Nothing
            }
            gone => {
                let error = gone.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                tracing::warn!(%error, port = %self.line.path.display(), "no board");
                self.port = None;
                self.begun.clear();
                Beyond::Nothing
            }
        }
    }

    /// Appends each line that has ended to the journal.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn take(&mut self, n_bytes: usize) {
        let now_ns = unix_ns(SystemTime::now());
        for piece in self.buffer[..n_bytes].split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LONGEST_LINE {
                self.journal.append(now_ns, Origin::default(), &self.begun);
                self.begun.clear();
            }
        }
    }
}

impl Receiver for Serial {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = unix_ns(SystemTime::now());
        let beyond = self.read();
        let written = self.journal.write(now_ns, beyond);
        written.map_err(|source| SourceError::Journal { folder: self.folder.clone(), source })
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Serial").field("line", &self.line).finish_non_exhaustive()
    }
}
