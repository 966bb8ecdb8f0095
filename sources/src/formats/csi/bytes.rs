//! Little-endian numbers and MAC addresses in byte slices.

/// Returns the `N` bytes at offset `at`; all zeros if `bytes` is too short.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

pub(crate) fn u16_le(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// A MAC address as text, in a reused buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MacText([u8; 17]);

impl MacText {
    /// Stores an address and returns its text, with colons and lower-case digits.
    pub(crate) fn set(&mut self, address: [u8; 6]) -> &str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0 = [b':'; 17];
        for (pair, byte) in self.0.chunks_mut(3).zip(address) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xF)];
        }
        // Digits, letters and colons are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!((u16_le(&bytes, 1), u32_le(&bytes, 4)), (0x0302, 0x0807_0605));
        assert_eq!((u64_le(&bytes, 0), u64_le(&bytes, 1)), (0x0807_0605_0403_0201, 0));
        let mut mac = MacText::default();
        assert_eq!(mac.set([0x00, 0x16, 0xEA, 0x12, 0x34, 0xFF]), "00:16:ea:12:34:ff");
    }
}
