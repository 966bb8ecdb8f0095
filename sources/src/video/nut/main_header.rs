//! The main header: the time bases, and how frames are coded.
//!
//! It is the only header with the version, so an unknown format stops here.

use super::TimeBase;
use super::fault::Fault;
use super::fields::{FieldError, Fields};
use super::frame_codes::{FrameCode, read_frame_codes};

/// The version of the format that the decoder reads.
pub(super) const VERSION: u64 = 3;

const MAX_TIME_BASES: u64 = 16;
/// The format allows fewer elision headers than this, besides the empty one.
const ELISION_HEADERS_END: u64 = 128;
/// A frame that is longer has no elision header.
const MAX_ELIDED_FRAME_BYTES: u64 = 4096;

/// The fields of the main header that the decoder uses.
///
/// - `time_bases` is not empty
/// - `frame_codes` has one for each value of a frame's first byte
/// - the first of `elision_headers` is empty
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MainHeader {
    /// Streams and syncpoints refer to them by index.
    pub(super) time_bases: Vec<TimeBase>,
    /// The meaning of each value of a frame's first byte.
    pub(super) frame_codes: Vec<FrameCode>,
    /// First bytes that frames leave out.
    elision_headers: Vec<Vec<u8>>,
}

impl MainHeader {
    /// Reads the header up to the elision headers.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let version = fields.number()?;
        if version != VERSION {
            return Err(Fault::Version(version).into());
        }
        let stream_count = fields.number()?;
        if stream_count != 1 {
            return Err(Fault::StreamCount(stream_count).into());
        }
        let _max_distance = fields.number()?;
        let time_bases = read_time_bases(fields)?;
        let frame_codes = read_frame_codes(fields)?;
        let elision_headers = read_elision_headers(fields)?;
        Ok(Self { time_bases, frame_codes, elision_headers })
    }

    /// Returns the first bytes of a frame of `n_bytes`, which its data leaves out.
    pub(super) fn elision_header(&self, header_idx: u64, n_bytes: u64) -> Result<&[u8], Fault> {
        if n_bytes > MAX_ELIDED_FRAME_BYTES {
            return Ok(&[]);
        }
        let header_idx = usize::try_from(header_idx).ok();
        let header = header_idx.and_then(|header_idx| self.elision_headers.get(header_idx));
        let header = header.filter(|header| header.len() as u64 <= n_bytes);
        header.map(Vec::as_slice).ok_or(Fault::Field)
    }
}

fn read_time_bases(fields: &mut Fields<'_>) -> Result<Vec<TimeBase>, FieldError> {
    let time_base_count = fields.number()?;
    if time_base_count == 0 || time_base_count > MAX_TIME_BASES {
        return Err(Fault::TimeBase.into());
    }
    let mut read = || {
        let numerator = time_base_part(fields.number()?)?;
        Ok(TimeBase { numerator, denominator: time_base_part(fields.number()?)? })
    };
    (0..time_base_count).map(|_| read()).collect()
}

/// Checks the range of a numerator or denominator.
fn time_base_part(number: u64) -> Result<u32, Fault> {
    let number = u32::try_from(number).ok();
    number.filter(|&number| number > 0 && number < 1 << 31).ok_or(Fault::TimeBase)
}

/// Reads the elision headers, which older writers leave out.
fn read_elision_headers(fields: &mut Fields<'_>) -> Result<Vec<Vec<u8>>, FieldError> {
    let mut headers = vec![Vec::new()];
    if fields.is_empty() {
        return Ok(headers);
    }
    let header_count_minus1 = fields.number()?;
    if header_count_minus1 >= ELISION_HEADERS_END {
        return Err(Fault::Field.into());
    }
    for _ in 0..header_count_minus1 {
        headers.push(fields.bytes()?.to_vec());
    }
    Ok(headers)
}
