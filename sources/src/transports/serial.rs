//! Serial ports: a stream of records; the time of a record is the arrival time of its end.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serialport::SerialPort;

use crate::framing::framer::Framer;
use crate::journal::{Backlog, Origin, Writer};
use crate::transports::push::PushTransport;
use crate::{Decoder, SourceError};

/// Time-out of a poll for bytes.
const PATIENCE: Duration = Duration::from_millis(20);
/// The interval of checks for a board that was unplugged.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 64 * 1024;

/// A serial port with a board at its other end.
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

/// An open port.
pub(super) struct Serial {
    line: SerialLine,
    /// None while the board is unplugged.
    port: Option<Box<dyn SerialPort>>,
    framer: Framer,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
}

impl Serial {
    /// Opens the port of a board whose records `decoder` can decode.
    pub(super) fn open(line: &SerialLine, decoder: Box<dyn Decoder>) -> Result<Self, SourceError> {
        let port = line
            .open()
            .map_err(|source| SourceError::Serial { path: line.path.clone(), source })?;
        let (framer, buffer) = (Framer::default(), vec![0; READ_BYTES]);
        Ok(Self { line: line.clone(), port: Some(port), framer, decoder, buffer })
    }

    fn append(&mut self, n_bytes: usize, journal: &mut Writer) {
        self.framer.take(&*self.decoder, &self.buffer[..n_bytes], |piece| {
            journal.append(Origin::default(), piece.bytes);
        });
    }
}

impl PushTransport for Serial {
    /// An unplugged board is idle, not an error.
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        let Some(port) = &mut self.port else {
            thread::sleep(LOOK_AGAIN);
            self.port = self.line.open().ok();
            return Ok(Backlog::Empty);
        };
        match port.read(&mut self.buffer) {
            Ok(n_bytes @ 1..) => {
                self.append(n_bytes, journal);
                return Ok(Backlog::More);
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            gone => {
                let error = gone.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                tracing::warn!(%error, port = %self.line.path.display(), "no board");
                (self.port, self.framer) = (None, Framer::default());
            }
        }
        Ok(Backlog::Empty)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Serial").field("line", &self.line).finish_non_exhaustive()
    }
}
