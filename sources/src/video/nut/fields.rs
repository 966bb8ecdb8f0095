//! Reads the fields of a packet or a frame: bytes, numbers of variable length and checksums.
//!
//! The fields before the data of a frame have no length of their own, so reading them is also the
//! test whether they are complete. Therefore "incomplete" is a result of its own.

use super::checksum::{CHECKSUM_BYTES, crc32};
use super::fault::Fault;

/// Maximum size of a variable-length number, with stuffing.
const MAX_NUMBER_BYTES: usize = 18;

/// The reason why a field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldError {
    /// The fields go on after the last byte.
    Incomplete,
    /// The bytes are wrong, however many follow.
    Fault(Fault),
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The bytes of a packet or a frame, with the position of the next field.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    /// Starts at the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns true after the last byte.
    pub(super) fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// Reads a byte, `f(8)` in nut.txt.
    pub(super) fn u8(&mut self) -> Result<u8, FieldError> {
        let byte = *self.bytes.get(self.position).ok_or(FieldError::Incomplete)?;
        self.position += 1;
        Ok(byte)
    }

    /// Reads eight bytes, highest first, `f(64)` in nut.txt.
    pub(super) fn u64(&mut self) -> Result<u64, FieldError> {
        (0..8).try_fold(0, |value, _| Ok(value << 8 | u64::from(self.u8()?)))
    }

    /// Reads a number of variable length, `v` in nut.txt.
    ///
    /// Each byte has seven bits, highest first, and all but the last have the top bit set.
    pub(super) fn number(&mut self) -> Result<u64, FieldError> {
        let mut value = 0_u64;
        for _ in 0..MAX_NUMBER_BYTES {
            let byte = self.u8()?;
            if value > u64::MAX >> 7 {
                break;
            }
            value = value << 7 | u64::from(byte & 0x7F);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Field.into())
    }

    /// Skips numbers of variable length.
    pub(super) fn skip_numbers(&mut self, count: u64) -> Result<(), FieldError> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    /// Reads bytes with their count before them, `vb` in nut.txt.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], FieldError> {
        let n_bytes = usize::try_from(self.number()?).map_err(|_| FieldError::Incomplete)?;
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let bytes = rest.get(..n_bytes).ok_or(FieldError::Incomplete)?;
        self.position += n_bytes;
        Ok(bytes)
    }

    /// Reads a checksum and compares it with all bytes before it.
    pub(super) fn checksum(&mut self) -> Result<(), FieldError> {
        let end = self.position + CHECKSUM_BYTES;
        let checked = self.bytes.get(..end).ok_or(FieldError::Incomplete)?;
        self.position = end;
        if crc32(checked) == 0 { Ok(()) } else { Err(Fault::Checksum.into()) }
    }
}

/// Returns the signed number, `s` in nut.txt, of an unsigned one: 0, 1, -1, 2, -2, …
pub(super) fn signed(stored: u64) -> i64 {
    // Only half of the largest number does not fit.
    let half = i64::try_from(stored / 2 + stored % 2).unwrap_or(i64::MAX);
    if stored % 2 == 1 { half } else { -half }
}
