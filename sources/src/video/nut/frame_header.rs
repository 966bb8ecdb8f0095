//! The fields of a frame that come before its data: its size and its time.
//!
//! A field that is not present comes from the frame code, a time from the frame before.

use super::fault::Fault;
use super::fields::{FieldError, Fields};
use super::frame_codes::{FrameCode, RESERVED_COUNT_END};
use super::frame_flags;

/// The fields of a frame that the decoder uses.
#[derive(Debug)]
pub(super) struct FrameHeader {
    flags: u64,
    coded_pts: Option<u64>,
    pts_delta: i64,
    /// Size of the frame, with the elision header.
    pub(super) data_size: u64,
    /// Index of the elision header.
    pub(super) header_idx: u64,
}

impl FrameHeader {
    /// Reads the fields from the first byte of the frame on.
    pub(super) fn read(fields: &mut Fields<'_>, codes: &[FrameCode]) -> Result<Self, FieldError> {
        let code = codes.get(usize::from(fields.u8()?)).copied().unwrap_or(FrameCode::INVALID);
        let flags = read_flags(fields, code)?;
        let mut field = |flag| (flags & flag != 0).then(|| fields.number()).transpose();
        let stream_id = field(frame_flags::STREAM_ID)?.unwrap_or(code.stream_id);
        let coded_pts = field(frame_flags::CODED_PTS)?;
        let data_size_msb = field(frame_flags::SIZE_MSB)?.unwrap_or(0);
        let _match_time_delta = field(frame_flags::MATCH_TIME)?;
        let header_idx = field(frame_flags::HEADER_IDX)?.unwrap_or(code.header_idx);
        let reserved_count = field(frame_flags::RESERVED)?.unwrap_or(code.reserved_count);
        let has_side_data = flags & frame_flags::SM_DATA != 0;
        if stream_id != 0 || reserved_count >= RESERVED_COUNT_END || has_side_data {
            return Err(Fault::Field.into());
        }
        let data_size = data_size(data_size_msb, code).ok_or(Fault::Field)?;
        fields.skip_numbers(reserved_count)?;
        if flags & frame_flags::CHECKSUM != 0 {
            fields.checksum()?;
        }
        Ok(Self { flags, coded_pts, pts_delta: code.pts_delta, data_size, header_idx })
    }

    /// Returns true for a frame without a picture, which only ends the last one.
    pub(super) fn is_end_of_relevance(&self) -> bool {
        self.flags & frame_flags::EOR != 0 && self.data_size == 0
    }

    /// Returns the presentation time, in ticks.
    ///
    /// A frame has the difference to the last time, the low bits of its time, or the whole time.
    pub(super) fn pts(&self, last_pts: u64, msb_pts_shift: u64) -> Option<u64> {
        match self.coded_pts {
            None => last_pts.checked_add_signed(self.pts_delta),
            Some(lsb) if lsb < 1 << msb_pts_shift => nearest_pts(lsb, last_pts, msb_pts_shift),
            Some(coded) => Some(coded - (1 << msb_pts_shift)),
        }
    }
}

/// Reads the flags of a frame: those of its code, some of which it may invert.
fn read_flags(fields: &mut Fields<'_>, code: FrameCode) -> Result<u64, FieldError> {
    if code.flags & frame_flags::INVALID != 0 {
        return Err(Fault::Field.into());
    }
    let is_coded = code.flags & frame_flags::CODED != 0;
    if is_coded { Ok(code.flags ^ fields.number()?) } else { Ok(code.flags) }
}

fn data_size(data_size_msb: u64, code: FrameCode) -> Option<u64> {
    data_size_msb.checked_mul(code.data_size_mul)?.checked_add(code.data_size_lsb)
}

/// Returns the time with the given low bits that is nearest to the last time.
fn nearest_pts(lsb: u64, last_pts: u64, msb_pts_shift: u64) -> Option<u64> {
    let mask = (1_i128 << msb_pts_shift) - 1;
    let lowest = i128::from(last_pts) - mask / 2;
    u64::try_from(((i128::from(lsb) - lowest) & mask) + lowest).ok()
}
