//! Times as text in recordings.
//!
//! Source: RFC 3339; H. Hinnant, "chrono-compatible low-level date algorithms", for days of the calendar.

const NS_PER_S: i64 = 1_000_000_000;
/// The years of valid times; 2261 is the last whole year in 64-bit nanoseconds since the Unix epoch.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=2261;

/// Parses a text such as `2026-03-02T17:36:09.092Z` to nanoseconds since the Unix epoch. The time is in UTC
/// unless the text has an offset. Digits finer than nanoseconds are cut off.
pub(super) fn as_ns(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, zone) = time.split_at(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()));
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let is_date = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    // A minute may have a leap second.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if !is_date || !is_time {
        return None;
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes(zone)?;
    Some((minutes * 60 + second) * NS_PER_S + fraction_ns(fraction)?)
}

/// Parses three numbers with a separator between them.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut numbers = text.split(separator).map(|digits| digits.parse::<u16>().ok());
    let three = [numbers.next()??, numbers.next()??, numbers.next()??].map(i64::from);
    numbers.next().is_none().then_some(three)
}

/// Returns the days since the Unix epoch, for a year within [`YEARS`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Returns the offset of a time zone from UTC, in minutes.
fn offset_minutes(zone: &str) -> Option<i64> {
    let number = |tens: u8, ones: u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| i64::from(10 * (tens - b'0') + (ones - b'0')))
    };
    match *zone.as_bytes() {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h10, h1, b':', m10, m1] => {
            let minutes = number(h10, h1)? * 60 + number(m10, m1)?;
            Some(if sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

/// Converts the digits after a decimal point to nanoseconds.
fn fraction_ns(digits: &str) -> Option<i64> {
    let digits = digits.get(..digits.len().min(9))?;
    let number: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(i64::from(number) * 10_i64.pow(9 - digits.len() as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-25T13:40:45.793Z", Some(1_795_614_045_793_000_000)),
            ("2026-11-25T13:40:45.793277552Z", Some(1_795_614_045_793_277_552)),
            ("2026-11-25T13:40:45.7932775529", Some(1_795_614_045_793_277_552)),
            ("2026-11-25 13:40:45", Some(1_795_614_045_000_000_000)),
            ("2026-11-25T15:40:45+02:00", Some(1_795_614_045_000_000_000)),
            ("2026-11-25T10:10:45-03:30", Some(1_795_614_045_000_000_000)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000)),
            ("2261-12-31T23:59:60.999999999-23:59", Some(9_214_732_740_999_999_999)),
            ("2262-01-01T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-25T24:00:00Z", None),
            ("2026-11-25T13:40Z", None),
            ("2026-11-25", None),
            ("2026-11-25T13:40:45.7x", None),
            ("2026-11-25T13:40:45+0200", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(as_ns(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9T:+Z.é -]{0,40}") {
            as_ns(&text);
        }
    }
}
