//! Numbers in the byte order of the host that captured them.

use serde::{Deserialize, Serialize};

/// The order of the bytes of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// Returns the byte order in which `bytes` are one of `numbers`, and that number.
    pub(super) fn of(bytes: [u8; 4], numbers: &[u32]) -> Option<(Self, u32)> {
        [(Self::Little, u32::from_le_bytes(bytes)), (Self::Big, u32::from_be_bytes(bytes))]
            .into_iter()
            .find(|(_, number)| numbers.contains(number))
    }

    /// Returns the 32-bit number at an offset; 0 after the end.
    pub(super) fn long(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Returns the 16-bit number at an offset; 0 after the end.
    pub(super) fn short(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}
