//! The table of frame codes: the meaning of a frame's first byte.
//!
//! The table lets a frame leave out most of its fields. The main header stores it as runs of codes
//! whose sizes go up by one.

use super::fault::Fault;
use super::fields::{FieldError, Fields, signed};
use super::frame_flags;
use super::packets::STARTCODE_BYTE;

/// Number of values of a frame's first byte.
const N_FRAME_CODES: usize = 256;
/// The format allows smaller factors and remainders of a size than this.
const SIZE_END: u64 = 1 << 14;
/// The format allows fewer reserved fields than this.
pub(super) const RESERVED_COUNT_END: u64 = 256;

/// The fields that a frame has if it does not state them itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameCode {
    /// Flags of the frame, see [`frame_flags`].
    pub(super) flags: u64,
    /// Ticks since the last frame.
    ///
    /// The format allows less than 2^14, but `ffmpeg` writes the ticks of a frame, which may be
    /// more.
    pub(super) pts_delta: i64,
    /// The size of a frame is `data_size_msb * data_size_mul + data_size_lsb`.
    pub(super) data_size_mul: u64,
    /// See `data_size_mul`.
    pub(super) data_size_lsb: u64,
    /// Index of the stream.
    pub(super) stream_id: u64,
    /// Number of fields of later revisions, which are skipped.
    pub(super) reserved_count: u64,
    /// Index of the elision header.
    pub(super) header_idx: u64,
}

impl FrameCode {
    /// A code that no frame has.
    pub(super) const INVALID: Self = Self {
        flags: frame_flags::INVALID,
        pts_delta: 0,
        data_size_mul: 1,
        data_size_lsb: 0,
        stream_id: 0,
        reserved_count: 0,
        header_idx: 0,
    };

    fn is_in_range(self) -> bool {
        self.data_size_mul < SIZE_END
            && self.data_size_lsb < SIZE_END
            && self.reserved_count < RESERVED_COUNT_END
    }
}

/// Reads the table, which has exactly one code for each value of a byte.
pub(super) fn read_frame_codes(fields: &mut Fields<'_>) -> Result<Vec<FrameCode>, FieldError> {
    let mut codes = Vec::with_capacity(N_FRAME_CODES);
    let mut first = FrameCode::INVALID;
    while codes.len() < N_FRAME_CODES {
        let count;
        (first, count) = read_run(fields, first)?;
        for data_size_lsb in (first.data_size_lsb..).take(count) {
            codes.push(FrameCode { data_size_lsb, ..first });
            // The runs leave out the byte that begins a packet.
            if codes.len() == usize::from(STARTCODE_BYTE) {
                codes.push(FrameCode::INVALID);
            }
        }
    }
    if codes.len() == N_FRAME_CODES { Ok(codes) } else { Err(Fault::Field.into()) }
}

/// Reads the first code of a run, and the number of codes in the run.
///
/// Most fields that are not stored are those of the previous run.
fn read_run(
    fields: &mut Fields<'_>,
    previous: FrameCode,
) -> Result<(FrameCode, usize), FieldError> {
    let mut code = previous;
    code.flags = fields.number()?;
    let field_count = fields.number()?;
    let mut field = |nth: u64| (field_count > nth).then(|| fields.number()).transpose();
    code.pts_delta = field(0)?.map_or(code.pts_delta, signed);
    code.data_size_mul = field(1)?.unwrap_or(code.data_size_mul);
    code.stream_id = field(2)?.unwrap_or(code.stream_id);
    code.data_size_lsb = field(3)?.unwrap_or(0);
    code.reserved_count = field(4)?.unwrap_or(0);
    let count = field(5)?;
    let _match_time_delta = field(6)?;
    code.header_idx = field(7)?.unwrap_or(code.header_idx);
    fields.skip_numbers(field_count.saturating_sub(8))?;
    let count = count.or_else(|| code.data_size_mul.checked_sub(code.data_size_lsb));
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| code.is_in_range() && (1..=N_FRAME_CODES).contains(count));
    Ok((code, count.ok_or(Fault::Field)?))
}
