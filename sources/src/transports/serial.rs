//! Serial ports: records come one behind the other; their time is the time that their end came in.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serialport::SerialPort;

use crate::framing::cutter::Cutter;
use crate::journal::{Beyond, Origin, Writer};
use crate::transports::inlet::Inlet;
use crate::{Decoder, SourceError};

/// How long to wait for bytes before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// How soon to look whether a board is plugged in again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 64 * 1024;

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

/// An open port.
pub(super) struct Serial {
    line: SerialLine,
    /// None while the board is unplugged.
    port: Option<Box<dyn SerialPort>>,
    cutter: Cutter,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
}

impl Serial {
    /// Opens the port of a board that sends what `decoder` decodes.
    pub(super) fn open(line: &SerialLine, decoder: Box<dyn Decoder>) -> Result<Self, SourceError> {
        let port = line
            .open()
            .map_err(|source| SourceError::Serial { path: line.path.clone(), source })?;
        let (cutter, buffer) = (Cutter::default(), vec![0; READ_BYTES]);
        Ok(Self { line: line.clone(), port: Some(port), cutter, decoder, buffer })
    }

    fn append(&mut self, n_bytes: usize, journal: &mut Writer) {
        self.cutter.take(&*self.decoder, &self.buffer[..n_bytes], |piece| {
            journal.append(Origin::default(), piece.bytes);
        });
    }
}

impl Inlet for Serial {
    /// An unplugged board is silent.
    fn take(&mut self, journal: &mut Writer) -> Result<Beyond, SourceError> {
        let Some(port) = &mut self.port else {
            thread::sleep(LOOK_AGAIN);
            self.port = self.line.open().ok();
            return Ok(Beyond::Nothing);
        };
        match port.read(&mut self.buffer) {
            Ok(n_bytes @ 1..) => {
                self.append(n_bytes, journal);
                return Ok(Beyond::More);
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            gone => {
                let error = gone.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                tracing::warn!(%error, port = %self.line.path.display(), "no board");
                (self.port, self.cutter) = (None, Cutter::default());
            }
        }
        Ok(Beyond::Nothing)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Serial").field("line", &self.line).finish_non_exhaustive()
    }
}
