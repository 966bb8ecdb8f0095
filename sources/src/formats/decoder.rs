//! Decoders: bytes in, a record or an error out.

use std::net::IpAddr;

use schemas::PoseFrame;
use serde::{Deserialize, Serialize};

use crate::formats::frame::DeviceFrame;
use crate::formats::row::Row;
use crate::framing::network::NetworkCapture;

/// Bytes in, records out: no I/O, no clock, no panic on any input.
pub trait Decoder: Send {
    /// Finds the end of the first record of `bytes`, which are not empty. If `complete`, no more bytes
    /// follow.
    fn split(&self, bytes: &[u8], complete: bool) -> Split;

    /// Decodes the first record of `bytes`, which are not empty. If `complete`, no more bytes follow.
    fn decode<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a>;

    /// Adds a schema that the decoder has requested by [`Decoded::NeedsSchema`].
    ///
    /// # Errors
    ///
    /// [`DecodeError::Schema`] if the text is not a usable schema.
    fn learn(&mut self, _number: u32, _schema: &str) -> Result<(), DecodeError> {
        Err(DecodeError::Schema)
    }

    /// Returns the state after the latest record.
    fn memory(&self) -> DecoderMemory;

    /// Restores a state of [`Decoder::memory`].
    fn recall(&mut self, memory: DecoderMemory);
}

/// The state of a decoder between records.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DecoderMemory {
    /// The format of the network capture, if the input is one.
    pub(crate) network: Option<NetworkCapture>,
}

/// The first item of some bytes. If it uses no bytes, the caller decodes the same bytes again: a packet may
/// contain several records.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A packet, whose records follow.
    Packet(PacketHeader),
    /// A record, and the number of used bytes.
    Record(usize, Content<'a>),
    /// An undecodable item, and the number of used bytes.
    Bad(usize, DecodeError),
    /// An incomplete record.
    NeedsMore,
    /// A record that needs the schema of this number.
    NeedsSchema(u32),
}

/// The content of a record.
#[derive(Debug)]
pub enum Content<'a> {
    /// No usable content.
    Nothing,
    /// A frame of channel state.
    Frame(DeviceFrame<'a>),
    /// A row, and its time in nanoseconds since the Unix epoch.
    Row(i64, Row<'a>),
    /// Poses.
    Poses(Vec<PoseFrame>),
}

/// The origin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// Capture time in nanoseconds since the Unix epoch, if the capture contains it.
    pub captured_at_ns: Option<i64>,
    /// The sender's address, if known.
    pub sender: Option<IpAddr>,
}

/// The result of decoding the first record of some bytes, or all records of the packet at their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record, or bytes without one, of this length.
    Used(usize),
    /// An undecodable record; decoding continues after this many bytes.
    Bad(usize, DecodeError),
    /// An incomplete record.
    NeedsMore,
    /// A record that needs the schema of this number.
    NeedsSchema(u32),
}

/// The result of a search in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A record of this many bytes.
    Record(usize),
    /// This many bytes without a record.
    Other(usize),
    /// Not a record; the next one may begin after this many bytes.
    Bad(usize, DecodeError),
    /// Possibly an incomplete record.
    NeedsMore,
}

impl Split {
    /// Returns the result for a record without its end.
    pub(crate) fn missing(bytes: &[u8], complete: bool) -> Self {
        if complete { Self::Bad(bytes.len(), DecodeError::Truncated) } else { Self::NeedsMore }
    }

    /// Finds a line of text, including its line break.
    pub(crate) fn line(bytes: &[u8], complete: bool) -> Self {
        match memchr::memchr(b'\n', bytes) {
            Some(end) => Self::Record(end + 1),
            None if complete => Self::Record(bytes.len()),
            None => Self::NeedsMore,
        }
    }

    /// Skips bytes that are not a record, up to the next place where a record `begins`. Unless `complete`,
    /// the last `margin` bytes remain undecided.
    pub(crate) fn resume(
        bytes: &[u8],
        complete: bool,
        margin: usize,
        error: DecodeError,
        begins: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let last = if complete { bytes.len() } else { bytes.len().saturating_sub(margin).max(1) };
        let next = (1..last).find(|at| begins(&bytes[*at..]));
        Self::Bad(next.unwrap_or(last), error)
    }
}

/// The reason why a record could not be decoded. The text is fixed, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a record.
    #[error("truncated record")]
    Truncated,
    /// The record's length is impossible.
    #[error("impossible length")]
    Length,
    /// The bytes are not a record of the format.
    #[error("no record of this format")]
    Header,
    /// The radio is unknown.
    #[error("unknown chip")]
    Chip,
    /// The antenna counts are impossible.
    #[error("impossible antenna count")]
    Antennas,
    /// The line has no list of values.
    #[error("no list of values")]
    NoValues,
    /// No known variant has this number of columns.
    #[error("unknown column layout")]
    Columns,
    /// A number is unreadable.
    #[error("unreadable number")]
    Number,
    /// The values do not pair up to complex numbers.
    #[error("odd number of values")]
    OddValues,
    /// The line is not a JSON object.
    #[error("no json object")]
    Json,
    /// The object has no time.
    #[error("no time")]
    NoTime,
    /// The line is not a pose frame.
    #[error("no pose frame")]
    NoPose,
    /// The line is not text.
    #[error("not text")]
    NotText,
    /// The schema of the record is unusable.
    #[error("unusable schema")]
    Schema,
    /// The registry has no schema of the record's schema number.
    #[error("schema unknown to the registry")]
    UnknownSchema,
    /// The recording contains amplitudes only, which are not channel state.
    #[error("amplitudes without phases")]
    NoPhases,
    /// The first extractor of Nexmon (`MobiSys` 2018) does not record the subcarriers of its values, and
    /// sends one value too few for 80 MHz.
    #[error("nexmon extractor of 2018: subcarriers unknown")]
    NoSubcarriers,
}

impl DecodeError {
    /// Returns the text, for counters.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "truncated record",
            Self::Length => "impossible length",
            Self::Header => "no record of this format",
            Self::Chip => "unknown chip",
            Self::Antennas => "impossible antenna count",
            Self::NoValues => "no list of values",
            Self::Columns => "unknown column layout",
            Self::Number => "unreadable number",
            Self::OddValues => "odd number of values",
            Self::Json => "no json object",
            Self::NoTime => "no time",
            Self::NoPose => "no pose frame",
            Self::NotText => "not text",
            Self::Schema => "unusable schema",
            Self::UnknownSchema => "schema unknown to the registry",
            Self::NoPhases => "amplitudes without phases",
            Self::NoSubcarriers => "nexmon extractor of 2018: subcarriers unknown",
        }
    }
}
