//! The checksum of packets and of frame headers.
//!
//! It goes bit by bit, without a table: the data of frames has no checksum, and the rest is short.

/// Size of a checksum.
pub(super) const CHECKSUM_BYTES: usize = 4;

const POLYNOMIAL: u32 = 0x04C1_1DB7;

/// Returns the CRC-32 with the polynomial 0x04C11DB7, highest bit first, starting with zero.
///
/// The CRC of bytes with their CRC after them is zero.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        let mixed = crc ^ u32::from(byte) << 24;
        (0..8).fold(mixed, |crc, _| crc << 1 ^ if crc >> 31 == 1 { POLYNOMIAL } else { 0 })
    })
}
