//! Lists of numbers, the inner loop of text: first all places where numbers part, eight bytes at a time,
//! then each number from its last four digits. So no step waits for the one before it.

use crate::DecodeError;

const MAX_DIGITS: usize = 4;
/// '0' in each byte.
const ZEROS: u32 = 0x3030_3030;
/// Added to a digit it does not reach the highest bit; added to anything larger it does.
const ABOVE_NINE: u32 = 0x7676_7676;
const HIGHEST_BITS: u32 = 0x8080_8080;
/// Added to a byte's lower bits it reaches the highest one from '-' on; blanks and commas are below.
const FROM_MINUS_ON: u64 = 0x5353_5353_5353_5353;
const LOWER_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const WORD_BYTES: usize = 8;

/// Reads numbers of up to four digits that blanks and commas part. `ends` is room that is used again.
pub(super) fn read(
    list: &[u8],
    ends: &mut Vec<usize>,
    numbers: &mut Vec<i16>,
) -> Result<(), DecodeError> {
    find_ends(list, ends);
    numbers.clear();
    let mut start = 0;
    for end in ends.iter().copied() {
        if end > start {
            numbers.push(number(list, start, end)?);
        }
        if !list.get(end).is_none_or(|byte| matches!(byte, b' ' | b',')) {
            return Err(DecodeError::Number);
        }
        start = end + 1;
    }
    Ok(())
}

/// The place of each byte that may part numbers, and the end.
fn find_ends(list: &[u8], ends: &mut Vec<usize>) {
    ends.clear();
    let (words, rest) = list.as_chunks::<WORD_BYTES>();
    for (word, at) in words.iter().zip((0..).step_by(WORD_BYTES)) {
        let word = u64::from_le_bytes(*word);
        let mut parts = !(((word & LOWER_BITS) + FROM_MINUS_ON) | word) & !LOWER_BITS;
        while parts != 0 {
            ends.push(at + (parts.trailing_zeros() / 8) as usize);
            parts &= parts - 1;
        }
    }
    let rest_at = list.len() - rest.len();
    ends.extend((rest_at..list.len()).filter(|at| list[*at] < b'-'));
    ends.push(list.len());
}

/// The number between two places.
fn number(list: &[u8], start: usize, end: usize) -> Result<i16, DecodeError> {
    let negative = list[start] == b'-';
    let n_digits = end - start - usize::from(negative);
    if !(1..=MAX_DIGITS).contains(&n_digits) {
        return Err(DecodeError::Number);
    }
    // Zeros before the first digit; digits become their values, and what is none has a high bit.
    let digits = (last_bytes(list, end) ^ ZEROS) >> (8 * (MAX_DIGITS - n_digits));
    let digits = digits << (8 * (MAX_DIGITS - n_digits));
    if (digits.wrapping_add(ABOVE_NINE) | digits) & HIGHEST_BITS != 0 {
        return Err(DecodeError::Number);
    }
    let pairs = (digits & 0x00FF_00FF) * 10 + (digits >> 8 & 0x00FF_00FF);
    // 9999 at most.
    let value = ((pairs & 0xFFFF) * 100 + (pairs >> 16)) as i16;
    Ok(if negative { -value } else { value })
}

/// The four bytes before a place, the last in the highest byte; zeros before the first.
fn last_bytes(list: &[u8], end: usize) -> u32 {
    if let Some(bytes) = list[..end].last_chunk() {
        return u32::from_le_bytes(*bytes);
    }
    let mut bytes = [0; MAX_DIGITS];
    bytes[MAX_DIGITS - end..].copy_from_slice(&list[..end]);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &str) -> Result<Vec<i16>, DecodeError> {
        let (mut ends, mut numbers) = (Vec::new(), Vec::new());
        read(list.as_bytes(), &mut ends, &mut numbers).map(|()| numbers)
    }

    #[test]
    fn reads_every_number() {
        for number in -9999..=9999_i16 {
            for list in [format!("{number}"), format!(" {number}, {number} ")] {
                let found = numbers(&list).expect("numbers");
                assert!(!found.is_empty() && found.iter().all(|it| *it == number), "{list}");
            }
        }
        assert_eq!(numbers("1 -2,3,  4 "), Ok(vec![1, -2, 3, 4]));
        assert_eq!(numbers("007 12,-100,4,55,6,-7"), Ok(vec![7, 12, -100, 4, 55, 6, -7]));
        assert_eq!(numbers(" , "), Ok(vec![]));
    }

    #[test]
    fn refuses_what_is_none() {
        for list in [
            "-",
            "- 1",
            "1x",
            "x",
            "--1",
            "12345",
            "1:",
            "1/",
            "1\u{7f}",
            "1;2",
            "\u{e9}",
            "1+2",
            "1 2 3 4 5\t6 7 8 9",
            "1 2 3 4 5 6 7 x 8 9 10 11 12",
            "1-2",
        ] {
            assert_eq!(numbers(list), Err(DecodeError::Number), "{list}");
        }
    }
}
