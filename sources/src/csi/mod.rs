//! CSI sources: a format's decoder behind a file or a socket.

mod capture;
mod clock;
mod esp32;
mod intel5300;
mod udp;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use schemas::SourceKind;
use serde::{Deserialize, Serialize};

use crate::csi::capture::Capture;
use crate::csi::clock::MicrosecondClock;
use crate::csi::udp::Udp;
use crate::pace::Paced;
use crate::{Intake, LinkNames, Source, SourceContext, SourceError, Speed};

pub(crate) use crate::csi::capture::unix_ns;
pub use crate::csi::esp32::Esp32;
pub use crate::csi::intel5300::Intel5300;

/// Frames in one batch of a recording that is read at full speed.
const FRAMES_PER_POLL: usize = 512;

/// Settings of the `csi` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsiConfig {
    /// The format of the bytes.
    pub format: CsiFormat,
    /// Where the bytes come from.
    pub transport: Transport,
    /// How fast a file is read: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
    /// Which clock gives the capture times: "device" (default for files) or "arrival" (default, and
    /// the only one, for sockets).
    pub clock: Option<Clock>,
    /// Milliseconds that frames may come out of order without being late; 0 by default.
    #[serde(default)]
    pub max_delay_ms: u32,
    /// The place that is watched; the pipeline's name by default.
    pub site: Option<String>,
    /// Name of the receiving device; the source's name by default.
    pub receiver: Option<String>,
    /// Name of the sending device where the format does not tell; "ap" by default.
    pub transmitter: Option<String>,
}

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CsiFormat {
    /// The Linux 802.11n CSI Tool's log of an Intel 5300.
    Intel5300,
    /// Lines of the ESP32-CSI-Tool or of Espressif's esp-csi, version 1 or 2.
    Esp32,
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A capture file.
    File(PathBuf),
    /// Datagrams of whole records, sent to this address.
    Udp(SocketAddr),
}

/// Which clock gives the capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's own, which starts anywhere, jumps and wraps; wraps are undone.
    Device,
    /// The time at which the bytes came in.
    Arrival,
}

/// Bytes in, frames out: no I/O, no clock, no panic on any input.
pub trait CsiDecoder: Send {
    /// Decodes the first record of `bytes` into `intake`. With `complete` no more bytes will follow.
    fn decode(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step;

    /// What it remembers of the records so far.
    fn memory(&self) -> DecoderMemory;

    /// Goes on as if it had decoded what led to this memory.
    fn recall(&mut self, memory: DecoderMemory);
}

/// What a decoder remembers from record to record.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DecoderMemory {
    pub(crate) clock: MicrosecondClock,
    /// Frames so far, to number them where the format does not.
    pub(crate) n_frames: u32,
}

/// What became of the first record of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was a frame, or something that carries none, and took this many bytes.
    Used(usize),
    /// It could not be decoded; go on after this many bytes.
    Bad(usize, DecodeError),
    /// It is not all here.
    NeedsMore,
}

/// Why a record could not be decoded. The text is fixed, to count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a record.
    #[error("truncated record")]
    Truncated,
    /// The record's length cannot be right.
    #[error("impossible length")]
    Length,
    /// The antenna counts cannot be right.
    #[error("impossible antenna count")]
    Antennas,
    /// The line has no list of values.
    #[error("no list of values")]
    NoValues,
    /// The number of columns is of no known variant.
    #[error("unknown column layout")]
    Columns,
    /// A number cannot be read.
    #[error("unreadable number")]
    Number,
    /// The values do not pair up to complex numbers.
    #[error("odd number of values")]
    OddValues,
    /// The line is not text.
    #[error("not text")]
    NotText,
}

impl DecodeError {
    /// The text, for counters.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "truncated record",
            Self::Length => "impossible length",
            Self::Antennas => "impossible antenna count",
            Self::NoValues => "no list of values",
            Self::Columns => "unknown column layout",
            Self::Number => "unreadable number",
            Self::OddValues => "odd number of values",
            Self::NotText => "not text",
        }
    }
}

impl CsiFormat {
    /// A decoder of this format.
    pub fn decoder(self) -> Box<dyn CsiDecoder> {
        match self {
            Self::Intel5300 => Box::<Intel5300>::default(),
            Self::Esp32 => Box::<Esp32>::default(),
        }
    }
}

impl CsiConfig {
    /// What the position is like.
    pub(crate) fn state_shape(&self) -> String {
        match &self.transport {
            Transport::File(path) => format!("csi file 1, {:?} in {}", self.format, path.display()),
            Transport::Udp(_) => "csi udp 1".to_owned(),
        }
    }

    /// Opens the file or binds the socket.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if that fails.
    pub(crate) fn open(&self, context: &SourceContext<'_>) -> Result<Box<dyn Source>, SourceError> {
        let or = |name: &Option<String>, default: &str| {
            name.clone().unwrap_or_else(|| default.to_owned())
        };
        let names = LinkNames {
            site: or(&self.site, context.site),
            receiver: or(&self.receiver, context.name),
            transmitter: or(&self.transmitter, "ap"),
        };
        let intake = |kind| Intake::new(names, kind, context).with_max_delay_ms(self.max_delay_ms);
        match &self.transport {
            Transport::File(path) => {
                let arrival = self.clock == Some(Clock::Arrival);
                let mut intake = intake(SourceKind::Replay);
                let place = intake.restore(context)?;
                let open = |frames_per_poll| {
                    let path = context.directory.join(path);
                    Capture::open(path, self.format, intake, arrival, frames_per_poll, place)
                };
                Ok(match self.speed {
                    Speed::Full => Box::new(open(FRAMES_PER_POLL)?),
                    Speed::Factor(factor) => Box::new(Paced::new(open(1)?, factor)),
                })
            }
            Transport::Udp(address) => {
                let intake = intake(SourceKind::Live).starting_at(context.starts_at);
                Ok(Box::new(Udp::bind(*address, self.format, intake)?))
            }
        }
    }
}
