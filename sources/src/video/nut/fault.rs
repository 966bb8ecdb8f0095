//! The errors of the decoder: a kind of fault, and the packet or frame that has it.
//!
//! Each fault is permanent: the decoder does not search for the next syncpoint, because a picture
//! that is lost without an error would go unnoticed.

use std::error::Error;
use std::fmt;

use super::main_header::VERSION;

/// A fault in the bytes. It is permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NutError {
    /// Offset of the first byte of the packet or frame, from the start of the stream.
    pub(crate) offset: u64,
    /// The kind of fault.
    pub(crate) fault: Fault,
}

impl fmt::Display for NutError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.fault, self.offset)
    }
}

impl Error for NutError {}

/// The kind of a [`NutError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The stream does not start as NUT does.
    FileId,
    /// A packet or frame header differs from its checksum.
    Checksum,
    /// A header is longer than the decoder reads, or shorter than its fields.
    HeaderLength,
    /// The version is not 3.
    Version(u64),
    /// There is not exactly one stream.
    StreamCount(u64),
    /// The stream is not video in RGB with 24 bits a pixel.
    PixelFormat,
    /// The width or the height is zero, or a picture has more bytes than the limit.
    PictureSize {
        /// Width, in pixels.
        width: u64,
        /// Height, in pixels.
        height: u64,
    },
    /// A time base is zero or out of range, or the stream's does not exist.
    TimeBase,
    /// A field has a value that the format does not allow.
    Field,
    /// A repeated header differs from the first.
    HeaderChanged,
    /// A frame or a syncpoint comes before the headers.
    HeaderMissing,
    /// The data of a frame has another size than a picture.
    ///
    /// The size of the pictures changed, for example.
    FrameSize {
        /// Bytes of the frame.
        found: u64,
        /// Bytes of a picture.
        expected: u64,
    },
    /// A time is negative or out of range.
    Time,
    /// The stream ends within a packet or a frame.
    Truncated,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileId => write!(formatter, "not a NUT stream"),
            Self::Checksum => write!(formatter, "wrong checksum"),
            Self::HeaderLength => write!(formatter, "header with an unusable length"),
            Self::Version(found) => write!(formatter, "NUT version {found}, expected {VERSION}"),
            Self::StreamCount(found) => write!(formatter, "{found} streams, expected 1"),
            Self::PixelFormat => write!(formatter, "not RGB video with 24 bits a pixel"),
            Self::PictureSize { width, height } => {
                write!(formatter, "pictures of {width}x{height} pixels are not within the limits")
            }
            Self::TimeBase => write!(formatter, "time base out of range"),
            Self::Field => write!(formatter, "field out of range"),
            Self::HeaderChanged => write!(formatter, "repeated header differs from the first"),
            Self::HeaderMissing => write!(formatter, "frame before the headers"),
            Self::FrameSize { found, expected } => {
                write!(formatter, "frame of {found} bytes, expected {expected}")
            }
            Self::Time => write!(formatter, "presentation time out of range"),
            Self::Truncated => write!(formatter, "stream ends within a packet"),
        }
    }
}
