//! Flags of a frame, `FLAG_…` in nut.txt. Most of them state that a field is present.
//!
//! The other flags, such as that of a keyframe, do not matter for raw video.

/// The last picture is not shown any longer: "end of relevance".
pub(super) const EOR: u64 = 1 << 1;
/// `coded_pts` is present.
pub(super) const CODED_PTS: u64 = 1 << 3;
/// `stream_id` is present.
pub(super) const STREAM_ID: u64 = 1 << 4;
/// `data_size_msb` is present.
pub(super) const SIZE_MSB: u64 = 1 << 5;
/// A checksum of the frame's header is present.
pub(super) const CHECKSUM: u64 = 1 << 6;
/// The count of reserved fields is present.
pub(super) const RESERVED: u64 = 1 << 7;
/// Side data and metadata are present.
pub(super) const SM_DATA: u64 = 1 << 8;
/// `header_idx`, the index of the elision header, is present.
pub(super) const HEADER_IDX: u64 = 1 << 10;
/// `match_time_delta` is present.
pub(super) const MATCH_TIME: u64 = 1 << 11;
/// `coded_flags` are present: the flags that differ from those of the frame code.
pub(super) const CODED: u64 = 1 << 12;
/// The frame code is not used.
pub(super) const INVALID: u64 = 1 << 13;
