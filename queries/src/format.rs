//! Formats of answers.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use crate::{Answer, QueryError};

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
}

impl Answer {
    /// Encodes the answer in a format.
    ///
    /// # Errors
    ///
    /// [`QueryError::Format`] if the format cannot represent the answer, such as nested columns in CSV.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, QueryError> {
        let bytes = match format {
            Format::Json => self.json::<JsonArray>(),
            Format::JsonLines => self.json::<LineDelimited>(),
            Format::Csv => self.csv(),
            Format::Arrow => self.arrow_file(),
            Format::ArrowStream => self.arrow_stream(),
            Format::Parquet => self.parquet(),
            Format::Pretty => pretty_format_batches(&self.batches_or_empty())
                .map(|text| format!("{text}\n").into()),
            Format::Expanded => self.expanded(),
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

    fn arrow_file(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = FileWriter::try_new(Vec::new(), &self.schema)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    }

    fn arrow_stream(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    }

    fn parquet(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), None)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        Ok(writer.into_inner()?)
    }

    fn expanded(&self) -> Result<Vec<u8>, ArrowError> {
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let options = FormatOptions::default();
        let (mut text, mut n_rows) = (String::new(), 0);
        for batch in &self.batches {
            let columns = batch.columns().iter();
            let columns = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                n_rows += 1;
                // Writing to a string does not fail.
                let _ = writeln!(text, "-- row {n_rows}");
                for (name, column) in names.iter().zip(&columns) {
                    let value = column.value(row).try_to_string()?;
                    let _ = writeln!(text, "{name:<width$} | {value}");
                }
            }
        }
        Ok(text.into_bytes())
    }

    /// Returns at least one batch, so that the output has a header.
    fn batches_or_empty(&self) -> Vec<RecordBatch> {
        if self.batches.is_empty() {
            vec![RecordBatch::new_empty(Arc::clone(&self.schema))]
        } else {
            self.batches.clone()
        }
    }
}
