//! Formats of answers.

use serde::{Deserialize, Serialize};

/// The format of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// An array of row objects.
    #[default]
    Json,
    /// One row object a line.
    #[serde(alias = "jsonl")]
    JsonLines,
    /// Comma-separated values with a header.
    Csv,
    /// An Arrow IPC file.
    Arrow,
    /// An Arrow IPC stream.
    ArrowStream,
    /// A Parquet file.
    Parquet,
    /// A table drawn in text.
    Pretty,
    /// A line of text for each value, for rows that are wider than the terminal.
    Expanded,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::Json,
        Self::JsonLines,
        Self::Csv,
        Self::Arrow,
        Self::ArrowStream,
        Self::Parquet,
        Self::Pretty,
        Self::Expanded,
    ];

    /// Returns the name of the format in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "json_lines",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::ArrowStream => "arrow_stream",
            Self::Parquet => "parquet",
            Self::Pretty => "pretty",
            Self::Expanded => "expanded",
        }
    }

    /// Returns the media type of the format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.file",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Pretty | Self::Expanded => "text/plain; charset=utf-8",
        }
    }

    /// Returns the usual ending of a file of the format.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::ArrowStream => "arrows",
            Self::Parquet => "parquet",
            Self::Pretty | Self::Expanded => "txt",
        }
    }
}
