//! The kernels: packed numbers to complex values, `[n_rx, n_tx, n_subcarriers]`.

use num_complex::Complex32;

/// Groups of subcarriers that an Intel 5300 reports.
pub(crate) const N_GROUPS: usize = 30;

/// Bytes of `n_pairs` antenna pairs from an Intel 5300.
pub(crate) fn groups_bytes(n_pairs: usize) -> usize {
    (N_GROUPS * (3 + 16 * n_pairs)).div_ceil(8)
}

/// Reads 30 groups, each three bits and then `[n_rx, n_tx]` pairs of signed bytes that are not aligned to
/// bytes. `rows` tells the row of each received stream. Gives the sum of the squares.
///
/// `payload` has at least [`groups_bytes`] bytes.
pub(crate) fn from_groups(
    payload: &[u8],
    rows: &[usize],
    n_tx: usize,
    values: &mut Vec<Complex32>,
) -> u32 {
    let n_pairs = rows.len() * n_tx;
    values.clear();
    values.resize(n_pairs * N_GROUPS, Complex32::default());
    let mut power = 0;
    for (stream, row) in rows.iter().enumerate() {
        for tx in 0..n_tx {
            let pair = stream * n_tx + tx;
            let start = (row * n_tx + tx) * N_GROUPS;
            let row = &mut values[start..start + N_GROUPS];
            let mut bit = 3 + 16 * pair;
            for value in row {
                let at = bit / 8;
                let [a, b, c] =
                    payload.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                let window = u32::from_le_bytes([a, b, c, 0]) >> (bit % 8);
                let [re, im, ..] = window.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
                power += (re * re + im * im).cast_unsigned();
                *value = Complex32::new(re as f32, im as f32);
                bit += 3 + 16 * n_pairs;
            }
        }
    }
    power
}

/// Bytes of `n_values` complex values of twice ten bits.
pub(crate) fn ten_bits_bytes(n_values: usize) -> usize {
    (n_values * 20).div_ceil(8)
}

/// Reads `[n_subcarriers, n_tx, n_rx]` values of ten bits for each part, the imaginary one first.
///
/// `payload` has at least [`ten_bits_bytes`] bytes.
pub(crate) fn from_ten_bits(
    payload: &[u8],
    (n_rx, n_tx, n_subcarriers): (usize, usize, usize),
    values: &mut Vec<Complex32>,
) {
    let n_pairs = n_rx * n_tx;
    values.clear();
    values.resize(n_pairs * n_subcarriers, Complex32::default());
    for tx in 0..n_tx {
        for rx in 0..n_rx {
            let start = (rx * n_tx + tx) * n_subcarriers;
            let mut bit = 20 * (tx * n_rx + rx);
            for value in &mut values[start..start + n_subcarriers] {
                let at = bit / 8;
                let [a, b, c] =
                    payload.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                // Twenty bits begin at a multiple of four: three bytes hold them.
                let window = u32::from_le_bytes([a, b, c, 0]) >> (bit % 8);
                let signed = |bits: u32| (bits << 22).cast_signed() >> 22;
                *value = Complex32::new(signed(window >> 10) as f32, signed(window) as f32);
                bit += 20 * n_pairs;
            }
        }
    }
}

/// Reads pairs of 16-bit numbers, the real part first.
pub(crate) fn from_words(payload: &[u8], values: &mut Vec<Complex32>) {
    let (words, _) = payload.as_chunks::<4>();
    values.clear();
    values.extend(words.iter().map(|&[a, b, c, d]| {
        let (re, im) = (i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d]));
        Complex32::new(f32::from(re), f32::from(im))
    }));
}

/// Reads pairs of signed bytes, the imaginary part first.
pub(crate) fn from_bytes(payload: &[u8], values: &mut Vec<Complex32>) {
    let (pairs, _) = payload.as_chunks::<2>();
    values.clear();
    values.extend(
        pairs.iter().map(|&[im, re]| {
            Complex32::new(f32::from(re.cast_signed()), f32::from(im.cast_signed()))
        }),
    );
}

/// How a chip packs a complex value into 32 bits: sign and magnitude of the real part, then of the
/// imaginary one, then an exponent that both share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Float {
    /// Bits of a part with its sign.
    pub(crate) mantissa_bits: u32,
    /// Bits of the exponent with its sign.
    pub(crate) exponent_bits: u32,
}

/// Bits that the largest part of a block has after scaling.
const BLOCK_BITS: i32 = 10;

impl Float {
    /// Reads packed values, scaled together so that the largest one fits into ten bits; what is smaller
    /// than one then is cut off, as the chip's tools do.
    pub(crate) fn read(self, payload: &[u8], values: &mut Vec<Complex32>) {
        let (words, _) = payload.as_chunks::<4>();
        let words = || words.iter().map(|word| u32::from_le_bytes(*word));
        let largest = words().filter_map(|word| {
            let (re, im, exponent) = self.split(word);
            (re | im).checked_ilog2().map(|top| exponent + top.cast_signed())
        });
        let lowest = -(1 << (self.exponent_bits - 1));
        let shift = BLOCK_BITS - largest.max().unwrap_or(lowest).max(lowest);
        values.clear();
        values.extend(words().map(|word| {
            let (re, im, exponent) = self.split(word);
            let exponent = exponent + shift;
            let part = |magnitude: u32, sign_bit: u32| {
                let magnitude = shifted(magnitude, exponent) as f32;
                if word >> sign_bit & 1 == 1 { -magnitude } else { magnitude }
            };
            let im_sign = self.exponent_bits + self.mantissa_bits - 1;
            Complex32::new(part(re, im_sign + self.mantissa_bits), part(im, im_sign))
        }));
    }

    /// Magnitudes and exponent of a value.
    fn split(self, word: u32) -> (u32, u32, i32) {
        let Self { mantissa_bits, exponent_bits } = self;
        let magnitude = (1 << (mantissa_bits - 1)) - 1;
        let (re, im) = (word >> (exponent_bits + mantissa_bits), word >> exponent_bits);
        let exponent = (word << (32 - exponent_bits)).cast_signed() >> (32 - exponent_bits);
        (re & magnitude, im & magnitude, exponent)
    }
}

fn shifted(magnitude: u32, by: i32) -> u32 {
    if by < 0 {
        magnitude.checked_shr(by.unsigned_abs()).unwrap_or(0)
    } else {
        magnitude.checked_shl(by.unsigned_abs()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bits_across_bytes() {
        // The first pair of the first group is -1 and 2, of the second 3 and -4.
        let mut payload = vec![0; groups_bytes(1)];
        for (bit, byte) in [(3, 0xFF_u8), (11, 2), (22, 3), (30, 0xFC)] {
            for of_byte in (0..8).filter(|of_byte| byte >> of_byte & 1 == 1) {
                payload[(bit + of_byte) / 8] |= 1 << ((bit + of_byte) % 8);
            }
        }
        let mut values = Vec::new();
        let power = from_groups(&payload, &[0], 1, &mut values);
        assert_eq!(values[..2], [Complex32::new(-1.0, 2.0), Complex32::new(3.0, -4.0)]);
        assert_eq!((power, values.len()), (30, N_GROUPS));
    }

    #[test]
    fn reads_ten_bits_in_order() {
        // Imaginary 1 and real -1 for the first antenna, then 511 and -512 for the second.
        let bits: u64 = 1 | 0x3FF << 10 | 0x1FF << 20 | 0x200 << 30;
        let mut values = Vec::new();
        from_ten_bits(&bits.to_le_bytes(), (2, 1, 1), &mut values);
        assert_eq!(values, [Complex32::new(-1.0, 1.0), Complex32::new(-512.0, 511.0)]);
    }

    #[test]
    fn reads_words_and_bytes() {
        let mut values = Vec::new();
        from_words(&[1, 0, 0xFF, 0xFF, 9], &mut values);
        assert_eq!(values, [Complex32::new(1.0, -1.0)]);
        from_bytes(&[1, 0xFE, 3], &mut values);
        assert_eq!(values, [Complex32::new(-2.0, 1.0)]);
    }

    #[test]
    fn scales_blocks_of_floats() {
        let float = Float { mantissa_bits: 9, exponent_bits: 5 };
        let word = |re: u32, im: u32, exponent: i32| {
            (re << 14 | im << 5 | exponent.cast_unsigned() & 0x1F).to_le_bytes()
        };
        // The largest is 128 at exponent 0: three bits more make ten. One is negative, one too small.
        let payload = [word(128, 256 + 3, 0), word(1, 0, -4), word(0, 0, 9)].concat();
        let mut values = Vec::new();
        float.read(&payload, &mut values);
        let expected = [Complex32::new(1024.0, -24.0), Complex32::new(0.0, 0.0)];
        assert_eq!(values[..2], expected);
        float.read(&[0; 8], &mut values);
        assert_eq!(values, [Complex32::default(); 2]);
    }
}
