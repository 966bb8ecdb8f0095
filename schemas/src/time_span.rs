//! Lengths of time in settings, written with a unit: `10ms`, `1.5s`, `2m`, `1h 30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime::{format_duration, parse_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest length, about 31 years: its nanoseconds fit in 64 bits.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// A length of time, at most 10⁹ seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// No time.
    pub const ZERO: Self = Self(Duration::ZERO);
    /// The longest length.
    pub const MAX: Self = Self(LONGEST);

    /// Returns a length of whole milliseconds, or [`TimeSpan::MAX`] if that is shorter.
    pub const fn from_ms(length_ms: u64) -> Self {
        let length = Duration::from_millis(length_ms);
        if length.as_secs() < LONGEST.as_secs() { Self(length) } else { Self::MAX }
    }

    /// Returns a length of whole seconds, or [`TimeSpan::MAX`] if that is shorter.
    pub const fn from_s(length_s: u64) -> Self {
        Self::from_ms(length_s.saturating_mul(1000))
    }

    /// Returns the length in whole milliseconds.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the length in nanoseconds.
    pub fn as_ns(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Returns the length in seconds.
    pub fn as_s(self) -> f64 {
        // Rounded once, so that 1.14 s is 1.14.
        self.0.as_nanos() as f64 / 1e9
    }
}

impl TryFrom<Duration> for TimeSpan {
    type Error = Duration;

    /// Returns the duration as the error if it is too long.
    fn try_from(length: Duration) -> Result<Self, Duration> {
        if length <= LONGEST { Ok(Self(length)) } else { Err(length) }
    }
}

impl From<TimeSpan> for Duration {
    fn from(length: TimeSpan) -> Self {
        length.0
    }
}

/// A text that is not a length of time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a length of time such as \"10ms\", \"2s\" or \"1m\"")]
pub struct NotATimeSpan;

impl FromStr for TimeSpan {
    type Err = NotATimeSpan;

    fn from_str(text: &str) -> Result<Self, NotATimeSpan> {
        // `M` is a month, and easily meant as a minute.
        let length = if text.contains('M') { None } else { parse_duration(text).ok() };
        length.and_then(|length| Self::try_from(length).ok()).ok_or(NotATimeSpan)
    }
}

impl fmt::Display for TimeSpan {
    /// Writes the length as in a pipeline file, with quotes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", format_duration(self.0))
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(LengthOfTime)
    }
}

struct LengthOfTime;

impl Visitor<'_> for LengthOfTime {
    type Value = TimeSpan;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a length of time such as \"10ms\", \"2s\" or \"1m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TimeSpan, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *[0-9][0-9. ]*([a-zA-Zµ][0-9a-zA-Zµ. ]*)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TimeSpan, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn reads_lengths_of_time() {
        for (text, expected_ms) in [
            ("10ms", 10),
            ("1.5s", 1500),
            ("2 m", 120_000),
            ("1h 30m", 5_400_000),
            ("1day", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(read(text).expect(text).as_ms(), expected_ms, "{text}");
        }
        assert_eq!(read("1us").expect("a length of time").as_ns(), 1000);
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["-1s", "10", "10 parsecs", "", "nan s", "32years", "1e3s", "0.1ns", "1M"] {
            let error = read(text).expect_err(text).to_string();
            assert!(
                error.contains("expected a length of time such as \"10ms\""),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["10ms", "1s 500ms", "2s", "1h 30m", "1day"] {
            let length = read(text).expect("a length of time");
            assert_eq!(length.to_string(), format!("\"{text}\""));
            assert_eq!(serde_json::to_value(length).expect("a text"), text);
        }
    }

    #[test]
    fn seconds_are_rounded_once() {
        for length_ms in 1..100_000_u32 {
            let expected = f64::from(length_ms) / 1e3;
            assert_eq!(TimeSpan::from_ms(length_ms.into()).as_s(), expected);
        }
    }

    #[test]
    fn lengths_end_at_the_longest() {
        assert_eq!(TimeSpan::from_s(u64::MAX), TimeSpan::MAX);
        assert_eq!(TimeSpan::MAX.as_ns(), 1_000_000_000_000_000_000);
    }
}
