//! The kernels convert packed numbers to complex values, `[n_rx, n_tx, n_subcarriers]`.

use std::ops::Range;

use num_complex::Complex32;

/// Groups of subcarriers that an Intel 5300 reports.
pub(crate) const N_GROUPS: usize = 30;

/// The most antenna pairs that an Intel 5300 reports.
pub(crate) const MAX_PAIRS: usize = 9;
/// Pairs of bytes that fit in eight bytes, at any bit offset in the first byte.
const PAIRS_PER_WINDOW: usize = 3;

/// Returns the bytes of `n_pairs` antenna pairs from an Intel 5300.
pub(crate) fn groups_bytes(n_pairs: usize) -> usize {
    (N_GROUPS * (3 + 16 * n_pairs)).div_ceil(8)
}

/// Reads 30 groups: each is three bits and then `[n_rx, n_tx]` pairs of signed bytes, not aligned to byte
/// boundaries. `rows` contains the row of each received stream. Returns the sum of the squares.
///
/// `payload` has at least [`groups_bytes`] bytes, of at most nine pairs.
pub(crate) fn from_groups(
    payload: &[u8],
    rows: &[usize],
    n_tx: usize,
    values: &mut Vec<Complex32>,
) -> u32 {
    let n_pairs = rows.len() * n_tx;
    // First copies each pair to its row, then converts all at once.
    let mut pairs = [[[0; 2]; N_GROUPS]; MAX_PAIRS];
    let row = |pair: usize| rows[pair / n_tx] * n_tx + pair % n_tx;
    for first in (0..n_pairs).step_by(PAIRS_PER_WINDOW) {
        match n_pairs - first {
            1 => spread(payload, n_pairs, first, [row(first)], &mut pairs),
            2 => spread(payload, n_pairs, first, [row(first), row(first + 1)], &mut pairs),
            _ => spread(payload, n_pairs, first, [0, 1, 2].map(|nth| row(first + nth)), &mut pairs),
        }
    }
    let parts = pairs[..n_pairs].as_flattened().as_flattened();
    values.resize(n_pairs * N_GROUPS, Complex32::default());
    for (value, part) in bytemuck::cast_slice_mut(values).iter_mut().zip(parts) {
        *value = f32::from(*part);
    }
    let squares = parts.iter().map(|part| i32::from(*part) * i32::from(*part));
    squares.sum::<i32>().cast_unsigned()
}

/// Copies the pairs of all groups, from the `first` pair on, to `rows`, which must differ.
fn spread<const N: usize>(
    payload: &[u8],
    n_pairs: usize,
    first: usize,
    rows: [usize; N],
    pairs: &mut [[[i8; 2]; N_GROUPS]; MAX_PAIRS],
) {
    let Ok(mut rows) = pairs.get_disjoint_mut(rows) else { return };
    for group in 0..N_GROUPS {
        let bit = 3 + group * (3 + 16 * n_pairs);
        let window = window(payload, bit / 8 + 2 * first) >> (bit % 8);
        for (nth, row) in rows.iter_mut().enumerate() {
            let pair = window >> (16 * nth);
            row[group] = [pair as i8, (pair >> 8) as i8];
        }
    }
}

/// Returns the eight bytes at `at`; zeros after the end.
fn window(bytes: &[u8], at: usize) -> u64 {
    if let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        return u64::from_le_bytes(*window);
    }
    let mut window = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    window[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(window)
}

/// Values of twenty bits that fit in eight bytes, at either half of the first byte.
const VALUES_PER_WINDOW: usize = 3;

/// Returns the bytes of `n_values` complex values of twice ten bits.
pub(crate) fn ten_bits_bytes(n_values: usize) -> usize {
    (n_values * 20).div_ceil(8)
}

/// Reads `[n_subcarriers, n_tx, n_rx]` values of ten bits for each part, the imaginary one first. `words` is
/// reused scratch space.
///
/// `payload` has at least [`ten_bits_bytes`] bytes.
pub(crate) fn from_ten_bits(
    payload: &[u8],
    (n_rx, n_tx, n_subcarriers): (usize, usize, usize),
    words: &mut Vec<u32>,
    values: &mut Vec<Complex32>,
) {
    let n_pairs = n_rx * n_tx;
    // First copies each value to its row, then converts all at once.
    words.resize(n_pairs * n_subcarriers, 0);
    let row = |pair: usize| {
        let start = (pair % n_rx * n_tx + pair / n_rx) * n_subcarriers;
        start..start + n_subcarriers
    };
    for first in (0..n_pairs).step_by(VALUES_PER_WINDOW) {
        match n_pairs - first {
            1 => spread_words(payload, n_pairs, first, [row(first)], words),
            2 => spread_words(payload, n_pairs, first, [row(first), row(first + 1)], words),
            _ => {
                let rows = [0, 1, 2].map(|nth| row(first + nth));
                spread_words(payload, n_pairs, first, rows, words);
            }
        }
    }
    values.resize(words.len(), Complex32::default());
    for (value, word) in values.iter_mut().zip(words) {
        let (re, im) = (*word << 22, *word);
        *value = Complex32::new(highest_ten_bits(re), highest_ten_bits(im));
    }
}

/// Returns the signed number in the highest ten bits.
fn highest_ten_bits(word: u32) -> f32 {
    (word.cast_signed() >> 22) as f32
}

/// Copies the values of all subcarriers, from the `first` pair on, to `rows`, which must differ. The lowest
/// ten bits are the real part, the highest ten the imaginary part.
fn spread_words<const N: usize>(
    payload: &[u8],
    n_pairs: usize,
    first: usize,
    rows: [Range<usize>; N],
    words: &mut [u32],
) {
    let Ok(mut rows) = words.get_disjoint_mut(rows) else { return };
    let n_subcarriers = rows[0].len();
    for subcarrier in 0..n_subcarriers {
        let bit = 20 * (subcarrier * n_pairs + first);
        let window = window(payload, bit / 8) >> (bit % 8);
        for (nth, row) in rows.iter_mut().enumerate() {
            row[subcarrier] = ((window >> (20 * nth)) as u32).rotate_right(10);
        }
    }
}

/// Reads pairs of 16-bit numbers, the real part first.
pub(crate) fn from_words(payload: &[u8], values: &mut Vec<Complex32>) {
    let (parts, _) = payload.as_chunks::<2>();
    values.resize(parts.len() / 2, Complex32::default());
    for (value, part) in bytemuck::cast_slice_mut(values).iter_mut().zip(parts) {
        *value = f32::from(i16::from_le_bytes(*part));
    }
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

/// The packing of a complex value in 32 bits by a chip: sign and magnitude of the real part, then of the
/// imaginary part, then a shared exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Float {
    /// Bits of a part, including its sign.
    pub(crate) mantissa_bits: u32,
    /// Bits of the exponent, including its sign.
    pub(crate) exponent_bits: u32,
}

/// Bits that the largest part of a block has after scaling.
const BLOCK_BITS: i32 = 10;

impl Float {
    /// Reads packed values, and scales them together so that the largest part has ten bits. Fractions are cut
    /// off, as in the chip's tools.
    pub(crate) fn read(self, payload: &[u8], values: &mut Vec<Complex32>) {
        let (words, _) = payload.as_chunks::<4>();
        let words = || words.iter().map(|word| u32::from_le_bytes(*word));
        let largest = words().map(|word| {
            let (re, im, exponent) = self.split(word);
            exponent + top_bit(re | im)
        });
        let lowest = -(1 << (self.exponent_bits - 1));
        let shift = BLOCK_BITS - largest.max().unwrap_or(lowest).max(lowest);
        let (re_sign, im_sign) = self.sign_shifts();
        values.clear();
        values.extend(words().map(|word| {
            let (re, im, exponent) = self.split(word);
            let factor = power_of_two(exponent + shift);
            let part = |magnitude: u32, sign: u32| {
                let magnitude = whole(magnitude.cast_signed() as f32 * factor);
                f32::from_bits(magnitude.to_bits() | (word << sign) & SIGN)
            };
            Complex32::new(part(re, re_sign), part(im, im_sign))
        }));
    }

    /// Returns the left shifts that move the sign of each part to the highest bit.
    fn sign_shifts(self) -> (u32, u32) {
        let im = 32 - self.exponent_bits - self.mantissa_bits;
        (im - self.mantissa_bits, im)
    }

    /// Returns the magnitudes and the exponent of a value.
    fn split(self, word: u32) -> (u32, u32, i32) {
        let Self { mantissa_bits, exponent_bits } = self;
        let magnitude = (1 << (mantissa_bits - 1)) - 1;
        let (re, im) = (word >> (exponent_bits + mantissa_bits), word >> exponent_bits);
        let exponent = (word << (32 - exponent_bits)).cast_signed() >> (32 - exponent_bits);
        (re & magnitude, im & magnitude, exponent)
    }
}

const SIGN: u32 = 1 << 31;
/// The exponent bias of single precision (IEEE 754).
const EXPONENT_BIAS: i32 = 127;
const FRACTION_BITS: u32 = 23;

/// Returns the index of the highest set bit; a large negative number for 0.
fn top_bit(magnitude: u32) -> i32 {
    let exponent = (magnitude.cast_signed() as f32).to_bits() >> FRACTION_BITS;
    exponent.cast_signed() - EXPONENT_BIAS
}

/// Returns the whole part of a number from 0 to 2047 with twelve significant bits. It subtracts just under
/// one half, then rounds by adding a number that is too large for fractions. Unlike a cast it vectorises,
/// because it has no check for values that do not fit.
fn whole(number: f32) -> f32 {
    const NEARLY_HALF: f32 = 0.5 - 1.0 / 8192.0;
    // In the middle of the range where single precision has whole numbers only.
    const NO_FRACTIONS: f32 = (3 << (FRACTION_BITS - 1)) as f32;
    (number - NEARLY_HALF + NO_FRACTIONS) - NO_FRACTIONS
}

/// Returns two to a power within the range of single precision.
fn power_of_two(power: i32) -> f32 {
    f32::from_bits((power + EXPONENT_BIAS).cast_unsigned() << FRACTION_BITS)
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
        let (mut words, mut values) = (Vec::new(), Vec::new());
        from_ten_bits(&bits.to_le_bytes(), (2, 1, 1), &mut words, &mut values);
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
    fn numbers_are_cut_off_at_the_point() {
        for magnitude in 0..2048_u16 {
            for power in -30..=10 {
                let number = f32::from(magnitude) * power_of_two(power);
                if number < 2048.0 {
                    assert_eq!(whole(number), number.trunc(), "{number}");
                }
            }
        }
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
