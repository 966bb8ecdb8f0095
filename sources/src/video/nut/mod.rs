//! Decodes the video that `ffmpeg -c:v rawvideo -pix_fmt rgb24 -f nut` writes: pictures with
//! exact times.
//!
//! Pictures need their exact times to be aligned with radio frames, and raw video has no times.
//! NUT stores each time as a whole number of ticks of the stream's time base, and needs no
//! seeking. Its length fields come before the data, so a reader of a pipe knows the size of each
//! picture in advance. The decoder reads one stream of RGB pictures that all have the size of the
//! header. It does no I/O.
//!
//! Source: "NUT Open Container Format" (nut.txt, the `MPlayer` and `FFmpeg` projects), version 3,
//! with the elision headers of the revisions after 2006.

mod checksum;
mod decoder;
mod fault;
mod fields;
mod frame_codes;
mod frame_flags;
mod frame_header;
mod headers;
mod main_header;
mod packets;
mod stream_header;
mod syncpoint;
#[cfg(test)]
mod test_writer;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use decoder::NutDecoder;

/// The length of a tick, in seconds: `numerator / denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeBase {
    /// Not zero, less than 2^31.
    pub(crate) numerator: u32,
    /// Not zero, less than 2^31.
    pub(crate) denominator: u32,
}

impl TimeBase {
    /// Returns the time of a number of ticks, in nanoseconds, rounded down.
    ///
    /// Returns none if the time is more than 292 years.
    pub(crate) fn nanoseconds(self, ticks: i64) -> Option<i64> {
        let scaled = i128::from(ticks) * i128::from(self.numerator) * 1_000_000_000;
        i64::try_from(scaled.div_euclid(i128::from(self.denominator))).ok()
    }
}

/// The properties that all pictures of the stream share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Width of each picture, in pixels; not zero.
    pub(crate) width: u32,
    /// Height of each picture, in pixels; not zero.
    pub(crate) height: u32,
    /// The unit of the times.
    pub(crate) time_base: TimeBase,
}

/// A picture with its time.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Presentation time, in ticks of the time base; never negative.
    pub(crate) pts: i64,
    /// Red, green and blue of each pixel, row by row from the top: `[height, width, 3]`.
    pub(crate) pixels: Vec<u8>,
}

impl fmt::Debug for Frame {
    /// Writes the number of bytes in place of the pixels.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_bytes = self.pixels.len();
        formatter.debug_struct("Frame").field("pts", &self.pts).field("n_bytes", &n_bytes).finish()
    }
}

/// An element of the stream that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The header, once, before the first frame.
    Header(Header),
    /// The next picture, in the order of the file.
    Frame(Frame),
}

/// The result of [`NutDecoder::decode`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Number of input bytes that the decoder used. Pass the others again.
    pub(crate) n_used: usize,
    /// The element that ends with these bytes. If there is none, the decoder used all bytes.
    pub(crate) event: Option<Event>,
}
