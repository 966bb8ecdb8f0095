//! The packets around headers, syncpoints and the index: a startcode, a length and checksums.
//!
//! The length comes first, so the decoder skips the packets that it does not know.

use super::checksum::{CHECKSUM_BYTES, crc32};
use super::fault::Fault;
use super::fields::{FieldError, Fields};

/// First bytes of a file, `file_id_string` in nut.txt.
pub(super) const FILE_ID: &[u8] = b"nut/multimedia container\0";
/// First byte of each startcode. No frame begins with it.
pub(super) const STARTCODE_BYTE: u8 = b'N';
/// Startcode of the main header.
pub(super) const MAIN_STARTCODE: u64 = 0x4E4D_7A56_1F5F_04AD;
/// Startcode of a stream header.
pub(super) const STREAM_STARTCODE: u64 = 0x4E53_1140_5BF2_F9DB;
/// Startcode of a syncpoint.
pub(super) const SYNCPOINT_STARTCODE: u64 = 0x4E4B_E4AD_EECA_4569;
/// Startcode of the index.
pub(super) const INDEX_STARTCODE: u64 = 0x4E58_DD67_2F23_E64E;

/// Maximum size of a packet that is read; `ffmpeg` writes about 100 bytes.
const MAX_PACKET_BYTES: usize = 16 * 1024;
/// A packet that is longer has a checksum after its length.
const LONG_PACKET_BYTES: u64 = 4096;

/// The first fields of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketHeader {
    /// The kind of packet.
    pub(super) startcode: u64,
    /// Number of bytes from the end of these fields to the next packet; at least a checksum.
    pub(super) forward_ptr: u64,
}

impl PacketHeader {
    /// Reads the fields from the first byte of the packet on.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let startcode = fields.u64()?;
        let forward_ptr = fields.number()?;
        if forward_ptr > LONG_PACKET_BYTES {
            fields.checksum()?;
        }
        if forward_ptr < CHECKSUM_BYTES as u64 {
            return Err(Fault::HeaderLength.into());
        }
        Ok(Self { startcode, forward_ptr })
    }

    /// Returns the number of bytes to buffer, or none if the decoder skips the packet.
    pub(super) fn n_buffered(self) -> Result<Option<usize>, Fault> {
        match self.startcode {
            MAIN_STARTCODE | STREAM_STARTCODE | SYNCPOINT_STARTCODE => {
                let n_bytes = usize::try_from(self.forward_ptr).ok();
                let n_bytes = n_bytes.filter(|&n_bytes| n_bytes <= MAX_PACKET_BYTES);
                n_bytes.map(Some).ok_or(Fault::HeaderLength)
            }
            _ => Ok(None),
        }
    }
}

/// Returns the fields between the packet header and the checksum at the end, which it checks.
pub(super) fn checked_fields(bytes: &[u8]) -> Result<Fields<'_>, Fault> {
    if crc32(bytes) != 0 {
        return Err(Fault::Checksum);
    }
    let (body, _checksum) = bytes.split_at(bytes.len().saturating_sub(CHECKSUM_BYTES));
    Ok(Fields::new(body))
}
