//! Captures as tables: Parquet or Arrow, a row for each frame.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use schemas::{frames_schema, frames_to_batch};
use sources::CsiFormat;

use crate::CaptureError;
use crate::captures::Capture;

/// The tables that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableFormat {
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// An Arrow file (Feather, version 2).
    Arrow,
}

impl TableFormat {
    /// The format that a file's name asks for.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Self::Parquet),
            "arrow" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }
}

/// A table that is being written.
enum Table {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<File>>),
}

impl Table {
    fn create(format: TableFormat, path: &Path) -> io::Result<Self> {
        let (file, schema) = (File::create(path)?, frames_schema());
        match format {
            TableFormat::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
                let writer = ArrowWriter::try_new(file, schema, Some(properties.build()));
                Ok(Self::Parquet(Box::new(writer.map_err(io::Error::other)?)))
            }
            TableFormat::Arrow => {
                let writer = FileWriter::try_new(file, &schema).map_err(failed)?;
                Ok(Self::Arrow(Box::new(writer)))
            }
        }
    }

    fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(rows).map_err(io::Error::other),
            Self::Arrow(writer) => writer.write(rows).map_err(failed),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Parquet(writer) => writer.close().map(drop).map_err(io::Error::other),
            Self::Arrow(mut writer) => writer.finish().map_err(failed),
        }
    }
}

fn failed(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        error => io::Error::other(error),
    }
}

/// Writes the frames of a capture to a table whose name tells its format. Gives how many there were, and
/// how many records could not be used.
///
/// # Errors
///
/// [`CaptureError`] if the capture cannot be read, or the table not be written.
pub fn convert(
    capture: &Path,
    format: Option<CsiFormat>,
    table: &Path,
) -> Result<(u64, u64), CaptureError> {
    let table_format =
        TableFormat::of(table).ok_or_else(|| CaptureError::Table { path: table.to_owned() })?;
    let mut capture = Capture::open(capture, format)?;
    let write_failed = |source| CaptureError::Write { path: table.to_owned(), source };
    let mut writer = Table::create(table_format, table).map_err(write_failed)?;
    let mut n_frames = 0;
    while let Some(batches) = capture.next()? {
        for batch in batches {
            n_frames += batch.len() as u64;
            let rows = frames_to_batch(&batch).map_err(|error| write_failed(failed(error)))?;
            writer.write(&rows).map_err(write_failed)?;
        }
    }
    writer.finish().map_err(write_failed)?;
    Ok((n_frames, capture.dropped.values().sum()))
}
