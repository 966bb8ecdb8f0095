//! The stream header: the format, the size and the time base of the pictures.
//!
//! The size of a picture is checked here, before the decoder allocates one.

use super::fault::Fault;
use super::fields::{FieldError, Fields};
use super::{Header, TimeBase};

/// The stream class of video.
pub(super) const VIDEO: u64 = 0;
/// The `fourcc` of raw video with three bytes a pixel; the last byte is the depth in bits, or zero.
pub(super) const RGB24: [&[u8]; 2] = [b"RGB\0", b"RGB\x18"];

const BYTES_PER_PIXEL: usize = 3;
/// The format allows a smaller `msb_pts_shift` than this.
const MSB_PTS_SHIFT_END: u64 = 16;

/// The fields of the stream header that the decoder uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamHeader {
    /// The size and the time base of the pictures.
    pub(super) header: Header,
    /// Number of low bits that a frame has of its presentation time; less than 16.
    pub(super) msb_pts_shift: u64,
    /// Size of a picture; not zero, at most the limit.
    pub(super) picture_bytes: usize,
}

impl StreamHeader {
    /// Reads the header up to the size of the pictures.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        time_bases: &[TimeBase],
        max_picture_bytes: usize,
    ) -> Result<Self, FieldError> {
        read_format(fields)?;
        let time_base_id = usize::try_from(fields.number()?).ok();
        let time_base = time_base_id.and_then(|time_base_id| time_bases.get(time_base_id));
        let time_base = *time_base.ok_or(Fault::TimeBase)?;
        let msb_pts_shift = fields.number()?;
        if msb_pts_shift >= MSB_PTS_SHIFT_END {
            return Err(Fault::Field.into());
        }
        let _max_pts_distance = fields.number()?;
        let _decode_delay = fields.number()?;
        let _stream_flags = fields.number()?;
        let _codec_specific_data = fields.bytes()?;
        let (width, height) = (fields.number()?, fields.number()?);
        let size = picture_size(width, height, max_picture_bytes);
        let (width, height, picture_bytes) = size.ok_or(Fault::PictureSize { width, height })?;
        Ok(Self { header: Header { width, height, time_base }, msb_pts_shift, picture_bytes })
    }
}

/// Reads the fields that state the format of the stream, which is raw RGB video.
fn read_format(fields: &mut Fields<'_>) -> Result<(), FieldError> {
    let stream_id = fields.number()?;
    let stream_class = fields.number()?;
    let fourcc = fields.bytes()?;
    let is_rgb = stream_id == 0 && stream_class == VIDEO && RGB24.contains(&fourcc);
    if is_rgb { Ok(()) } else { Err(Fault::PixelFormat.into()) }
}

/// Returns the width, the height and the number of bytes of a picture, if they are in range.
fn picture_size(width: u64, height: u64, max_bytes: usize) -> Option<(u32, u32, usize)> {
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let n_pixels = usize::try_from(width).ok()?.checked_mul(usize::try_from(height).ok()?)?;
    let n_bytes = n_pixels.checked_mul(BYTES_PER_PIXEL)?;
    (n_bytes > 0 && n_bytes <= max_bytes).then_some((width, height, n_bytes))
}
