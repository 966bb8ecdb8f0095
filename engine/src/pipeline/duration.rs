//! Lengths of time with a unit: `10ms`, `1.5s`, `2m`, `1h`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A length of time, in milliseconds; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milliseconds(pub u64);

impl fmt::Display for Milliseconds {
    /// Writes the length as in a pipeline file, in the largest unit that divides it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")].into_iter();
        let unit = units.find(|(unit_ms, _)| self.0 > 0 && self.0.is_multiple_of(*unit_ms));
        let (unit_ms, unit) = unit.unwrap_or((1, "ms"));
        write!(formatter, "\"{}{unit}\"", self.0 / unit_ms)
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(LengthOfTime)
    }
}

struct LengthOfTime;

impl Visitor<'_> for LengthOfTime {
    type Value = Milliseconds;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a length of time such as \"10ms\", \"2s\" or \"1m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Milliseconds, E> {
        parse_ms(text)
            .map(Milliseconds)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl JsonSchema for Milliseconds {
    fn schema_name() -> Cow<'static, str> {
        "Milliseconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9.]+ ?(ms|s|m|h)$" })
    }
}

/// Parses a length of time in milliseconds, from 1 to 10¹²; `None` for any other text.
fn parse_ms(text: &str) -> Option<u64> {
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

    #[test]
    fn writes_what_it_reads() {
        for text in ["10ms", "1500ms", "2s", "90m", "24h"] {
            let length = parse_ms(text).map(Milliseconds).expect("a length of time");
            assert_eq!(length.to_string(), format!("\"{text}\""));
        }
    }
}
