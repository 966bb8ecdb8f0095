//! The forms of an answer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use crate::{Answer, QueryError};

/// The form of an answer.
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
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
    /// A table drawn in text.
    Pretty,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Json, Self::JsonLines, Self::Csv, Self::Arrow, Self::Parquet, Self::Pretty];

    /// Its name in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "json_lines",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
            Self::Pretty => "pretty",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Pretty => "text/plain; charset=utf-8",
        }
    }
}

impl Answer {
    /// The answer's bytes in a format.
    ///
    /// # Errors
    ///
    /// [`QueryError::Format`] if it does not fit, as nested columns do not fit CSV.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, QueryError> {
        let bytes = match format {
            Format::Json => self.json::<JsonArray>(),
            Format::JsonLines => self.json::<LineDelimited>(),
            Format::Csv => self.csv(),
            Format::Arrow => self.arrow(),
            Format::Parquet => self.parquet(),
            Format::Pretty => pretty_format_batches(&self.batches_or_empty())
                .map(|text| format!("{text}\n").into()),
        };
        let format = format.as_str();
        bytes.map_err(|error| QueryError::Format { format, reason: error.to_string() })
    }

    fn json<F: JsonFormat>(&self) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, F>(&mut bytes);
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()?;
        Ok(bytes)
    }

    fn csv(&self) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        let mut writer = WriterBuilder::new().with_header(true).build(&mut bytes);
        self.batches_or_empty().iter().try_for_each(|batch| writer.write(batch))?;
        drop(writer);
        Ok(bytes)
    }

    fn arrow(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    }

    fn parquet(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), None)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        Ok(writer.into_inner()?)
    }

    /// At least one batch, so that the header is there.
    fn batches_or_empty(&self) -> Vec<RecordBatch> {
        if self.batches.is_empty() {
            vec![RecordBatch::new_empty(Arc::clone(&self.schema))]
        } else {
            self.batches.clone()
        }
    }
}
