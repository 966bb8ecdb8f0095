//! Lengths of time as people write them: `10ms`, `1.5s`, `2m`, `1h`.

/// Milliseconds; `None` for what is no length of time above zero.
pub(super) fn parse_ms(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3_600e3,
        _ => return None,
    };
    let length_ms = digits.trim_end().parse::<f64>().ok()? * unit_ms;
    (1.0..=1e12).contains(&length_ms).then_some(length_ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths_of_time() {
        for (text, expected) in [
            ("10ms", Some(10)),
            ("1.5s", Some(1500)),
            ("2 m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0ms", None),
            ("-1s", None),
            ("10", None),
            ("10 parsecs", None),
            ("", None),
        ] {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }
}
