//! Lists of numbers, the inner loop of the text decoder. It first finds all separators, eight bytes at a
//! time, then reads each number from its last four digits. So no step depends on the step before it.

use crate::DecodeError;

const MAX_DIGITS: usize = 4;
/// Masks for the last `n` of four bytes, by `n`.
const OF_LAST: [u32; 8] = [0, 0xFF00_0000, 0xFFFF_0000, 0xFFFF_FF00, 0xFFFF_FFFF, 0, 0, 0];
/// '0' in each byte.
const ZEROS: u32 = 0x3030_3030;
/// Added to a digit, it does not reach the highest bit; added to any larger byte, it does.
const ABOVE_NINE: u32 = 0x7676_7676;
const HIGHEST_BITS: u32 = 0x8080_8080;
const BLANKS: u64 = 0x2020_2020_2020_2020;
const COMMAS: u64 = 0x2C2C_2C2C_2C2C_2C2C;
const LOWER_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const WORD_BYTES: usize = 8;
/// Multiplied by the lowest bits of eight bytes, it collects them in the highest byte.
const TO_HIGHEST_BYTE: u64 = 0x0102_0408_1020_4080;
const BLOCK_BYTES: usize = 64;
/// The approximate number count of a block.
const AT_ONCE: usize = 16;

/// Reads numbers separated by blanks and commas. `room` is reused scratch space.
pub(super) fn read(
    list: &[u8],
    room: &mut Vec<u32>,
    numbers: &mut Vec<i16>,
) -> Result<(), DecodeError> {
    find_ends(list, room);
    numbers.clear();
    match find_digits(list, room) {
        Some(n_numbers) => numbers.extend(room[..n_numbers].iter().map(|digits| number(*digits))),
        None => read_slowly(list, numbers)?,
    }
    Ok(())
}

/// Reads longer numbers, which boards that multiply by their gain print in rare cases.
#[cold]
fn read_slowly(list: &[u8], numbers: &mut Vec<i16>) -> Result<(), DecodeError> {
    let texts = list.split(|byte| b" ,".contains(byte)).filter(|text| !text.is_empty());
    for text in texts {
        let text = str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
        let number = text.and_then(|text| text.parse().ok());
        numbers.push(number.ok_or(DecodeError::Number)?);
    }
    Ok(())
}

/// Replaces each end by the digits of its number, and returns the count. None if one of them is not a number
/// of up to four digits.
fn find_digits(list: &[u8], ends: &mut [u32]) -> Option<usize> {
    let (mut n_numbers, mut start, mut longest, mut high) = (0, 0, 0, 0);
    for idx in 0..ends.len() {
        let end = ends[idx] as usize;
        if end > start {
            let negative = list[start] == b'-';
            let n_digits = end - start - usize::from(negative);
            // No digits at all wrap around to the largest length.
            longest = longest.max(n_digits.wrapping_sub(1));
            let digits = (last_bytes(list, end) ^ ZEROS) & OF_LAST[n_digits % OF_LAST.len()];
            high |= digits.wrapping_add(ABOVE_NINE) | digits;
            ends[n_numbers] = digits | u32::from(negative) << 7;
            n_numbers += 1;
        }
        start = end + 1;
    }
    let good = longest < MAX_DIGITS && high & HIGHEST_BITS == 0;
    good.then_some(n_numbers)
}

/// Finds the offset of each blank and comma, and of the end.
fn find_ends(list: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    let (blocks, rest) = list.as_chunks::<BLOCK_BYTES>();
    for (block, at) in blocks.iter().zip((0..).step_by(BLOCK_BYTES)) {
        push_places(parts(block), at, ends);
    }
    let mut last = [0; BLOCK_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    push_places(parts(&last), (list.len() - rest.len()) as u32, ends);
    ends.push(list.len() as u32);
}

/// Returns a bit mask of the blanks and commas.
fn parts(block: &[u8; BLOCK_BYTES]) -> u64 {
    let (words, _) = block.as_chunks::<WORD_BYTES>();
    words.iter().rev().fold(0, |bits, word| {
        let word = u64::from_le_bytes(*word);
        let parts = !(nonzero(word ^ BLANKS) & nonzero(word ^ COMMAS)) & !LOWER_BITS;
        bits << WORD_BYTES | (parts >> 7).wrapping_mul(TO_HIGHEST_BYTE) >> (64 - WORD_BYTES)
    })
}

fn nonzero(word: u64) -> u64 {
    ((word & LOWER_BITS) + LOWER_BITS) | word
}

/// Appends the places of the set bits. The loop writes a fixed number at once and truncates the surplus, so
/// its branches rarely depend on the data.
fn push_places(mut bits: u64, at: u32, places: &mut Vec<u32>) {
    let (n_before, n_places) = (places.len(), bits.count_ones() as usize);
    while bits != 0 {
        let some: [u32; AT_ONCE] = std::array::from_fn(|_| {
            let place = at + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            place
        });
        places.extend_from_slice(&some);
    }
    places.truncate(n_before + n_places);
}

/// Converts four digits, the first in the lowest byte, to a number. Bit 7 is its sign.
fn number(digits: u32) -> i16 {
    let sign = -((digits >> 7) as i16 & 1);
    let pairs = (digits & 0x000F_000F) * 10 + (digits >> 8 & 0x000F_000F);
    let value = ((pairs & 0xFFFF) * 100 + (pairs >> 16)) as i16;
    (value ^ sign) - sign
}

/// Returns the four bytes before `end`, the last in the highest byte. Bytes before the list are zero.
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
        let (mut room, mut numbers) = (Vec::new(), Vec::new());
        read(list.as_bytes(), &mut room, &mut numbers).map(|()| numbers)
    }

    #[test]
    fn reads_every_number() {
        for number in i16::MIN..=i16::MAX {
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
    fn reads_long_lists() {
        let all: Vec<_> = (i16::MIN..=i16::MAX).collect();
        let texts: Vec<_> = all.iter().map(i16::to_string).collect();
        for part in [" ", ",", ", "] {
            let list = texts.join(part);
            assert_eq!(numbers(&list).as_ref(), Ok(&all), "{part:?}");
            for at in (0..list.len()).step_by(4999) {
                let mut list = list.clone();
                list.replace_range(at..=at, "x");
                assert_eq!(numbers(&list), Err(DecodeError::Number), "{part:?} at {at}");
            }
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for list in [
            "-",
            "- 1",
            "1x",
            "x",
            "--1",
            "32768",
            "99999 1",
            "12345 +1",
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
