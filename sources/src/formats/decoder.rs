//! Decoders: bytes in, a record or an error out.

use std::net::IpAddr;

use schemas::PoseFrame;
use serde::{Deserialize, Serialize};

use crate::formats::frame::DeviceFrame;
use crate::formats::row::Row;
use crate::framing::network::NetworkCapture;

/// Bytes in, records out: no I/O, no clock, no panic on any input.
pub trait Decoder: Send {
    /// Where the first record of `bytes`, which are not empty, ends. With `complete` no more bytes will
    /// follow.
    fn split(&self, bytes: &[u8], complete: bool) -> Split;

    /// Decodes the first record of `bytes`, which are not empty. With `complete` no more bytes will follow.
    fn decode<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a>;

    /// Learns a schema that it has asked for.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Schema`] if it is none.
    fn learn(&mut self, _number: u32, _schema: &str) -> Result<(), DecodeError> {
        Err(DecodeError::Schema)
    }

    /// The state after the records so far.
    fn memory(&self) -> DecoderMemory;

    /// Goes on as if it had decoded what led to this memory.
    fn recall(&mut self, memory: DecoderMemory);
}

/// The state of a decoder between records.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DecoderMemory {
    /// The format of the network capture that it reads, if it does.
    pub(crate) network: Option<NetworkCapture>,
}

/// What some bytes begin with. As long as no bytes are used, the same ones are to be decoded again: a packet
/// may hold several records.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A packet, whose records follow.
    Packet(PacketHeader),
    /// A record, and how many bytes were used.
    Record(usize, Content<'a>),
    /// Something that could not be decoded, and how many bytes were used.
    Bad(usize, DecodeError),
    /// A record that is not all here.
    NeedsMore,
    /// A record that can be decoded when the schema of this number is known.
    NeedsSchema(u32),
}

/// The content of a record.
#[derive(Debug)]
pub enum Content<'a> {
    /// Nothing that is used.
    Nothing,
    /// A frame of channel state.
    Frame(DeviceFrame<'a>),
    /// A row, and when it happened, in nanoseconds since the Unix epoch.
    Row(i64, Row<'a>),
    /// Poses.
    Poses(Vec<PoseFrame>),
}

/// The origin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// When it was captured, if its capture tells.
    pub captured_at_ns: Option<i64>,
    /// The sender, if it is known.
    pub sender: Option<IpAddr>,
}

/// The result of decoding the first record of some bytes, or all records of the packet that they begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was a record, or something that carries none, and took this many bytes.
    Used(usize),
    /// It could not be decoded; go on after this many bytes.
    Bad(usize, DecodeError),
    /// It is not all here.
    NeedsMore,
    /// It can be decoded when the schema of this number is known.
    NeedsSchema(u32),
}

/// The result of a search in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A record of this many bytes.
    Record(usize),
    /// So many bytes that carry no record.
    Other(usize),
    /// No record; the next one may be behind this many bytes.
    Bad(usize, DecodeError),
    /// Perhaps a record that is not all here.
    NeedsMore,
}

impl Split {
    /// The behaviour when the end of a record is missing.
    pub(crate) fn missing(bytes: &[u8], complete: bool) -> Self {
        if complete { Self::Bad(bytes.len(), DecodeError::Truncated) } else { Self::NeedsMore }
    }

    /// A line of text with its end.
    pub(crate) fn line(bytes: &[u8], complete: bool) -> Self {
        match memchr::memchr(b'\n', bytes) {
            Some(end) => Self::Record(end + 1),
            None if complete => Self::Record(bytes.len()),
            None => Self::NeedsMore,
        }
    }

    /// What to do when there is no record: goes on where one `begins`, if that is in sight. Of the
    /// last `margin` bytes nobody can tell.
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

/// Why a record could not be decoded. The text is fixed, to count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a record.
    #[error("truncated record")]
    Truncated,
    /// The record's length cannot be right.
    #[error("impossible length")]
    Length,
    /// There is no record of the format.
    #[error("no record of this format")]
    Header,
    /// The radio is not known.
    #[error("unknown chip")]
    Chip,
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
    /// The line is no JSON object.
    #[error("no json object")]
    Json,
    /// The object does not tell when it happened.
    #[error("no time")]
    NoTime,
    /// The line is no pose frame.
    #[error("no pose frame")]
    NoPose,
    /// The line is not text.
    #[error("not text")]
    NotText,
    /// The schema that it is written by cannot be used.
    #[error("unusable schema")]
    Schema,
    /// The registry has no schema of the number that it names.
    #[error("schema unknown to the registry")]
    UnknownSchema,
    /// The recording kept the amplitudes alone: they are no channel state.
    #[error("amplitudes without phases")]
    NoPhases,
    /// The first extractor of Nexmon (`MobiSys` 2018) did not write down which value is of which subcarrier,
    /// and sent one too few for 80 MHz.
    #[error("nexmon extractor of 2018: subcarriers unknown")]
    NoSubcarriers,
}

impl DecodeError {
    /// The text, for counters.
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
