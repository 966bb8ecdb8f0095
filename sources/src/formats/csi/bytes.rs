//! Numbers within bytes.

/// `N` bytes from a place on; zeros where there are none.
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

/// A MAC address as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MacText([u8; 17]);

impl MacText {
    pub(crate) fn new(address: [u8; 6]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (pair, byte) in text.chunks_mut(3).zip(address) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xF)];
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
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
        let mac = MacText::new([0x00, 0x16, 0xEA, 0x12, 0x34, 0xFF]);
        assert_eq!(mac.as_str(), "00:16:ea:12:34:ff");
    }
}
