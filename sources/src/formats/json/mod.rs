//! JSON: rows with the fields that a pipeline declares.

mod row_decoder;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use crate::formats::json::row_decoder::RowDecoder;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Signed whole numbers of 64 bits.
    Int,
    /// Floating-point numbers of 64 bits.
    Float,
    /// True or false.
    Bool,
    /// Text.
    Text,
}

/// The time of a row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeField {
    /// Name of the field with the time; the field must contain numbers.
    pub field: String,
    /// The unit of the time since the Unix epoch; "ms" by default.
    #[serde(default)]
    pub unit: TimeUnit,
}

/// The unit of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    #[default]
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl TimeUnit {
    fn as_ns(self) -> i64 {
        match self {
            Self::S => 1_000_000_000,
            Self::Ms => 1_000_000,
            Self::Us => 1_000,
            Self::Ns => 1,
        }
    }
}

/// Returns the first line of `bytes` without its end, and its length with it. None if its end is missing.
pub(crate) fn line(bytes: &[u8], complete: bool) -> Option<(&[u8], usize)> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => Some((&bytes[..end], end + 1)),
        None => complete.then_some((bytes, bytes.len())),
    }
}
