//! Captures as tables: Parquet or Arrow, a row for each frame.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use schemas::{CsiBatch, frames_schema, frames_to_batch};
use sources::CsiFormat;

use crate::CaptureError;
use crate::captures::Capture;

/// Size of the frames that are written at once: small batches make large tables.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// The file format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableFormat {
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// An Arrow file (Feather, version 2).
    Arrow,
}

impl TableFormat {
    /// Returns the format of a file extension; none if it is unknown.
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

/// Frames that wait for the next write, in the order of the capture.
#[derive(Default)]
struct Waiting {
    /// Each batch has consecutive frames of one link and one layout.
    batches: Vec<CsiBatch>,
    n_bytes: usize,
}

impl Waiting {
    fn push(&mut self, batch: CsiBatch) {
        self.n_bytes += batch.size_bytes();
        match self.batches.last_mut() {
            Some(last) if last.link == batch.link && last.layout == batch.layout => {
                last.append(batch);
            }
            _ => self.batches.push(batch),
        }
    }

    /// Removes all frames, and returns a row for each of them.
    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.n_bytes = 0;
        let rows: Vec<_> = self
            .batches
            .drain(..)
            .map(|batch| frames_to_batch(&batch))
            .collect::<Result<_, _>>()?;
        concat_batches(&frames_schema(), &rows)
    }
}

fn failed(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        error => io::Error::other(error),
    }
}

/// Writes the frames of a capture to a table, in the order of the capture. The file extension of the table
/// determines its format. Returns the number of frames and the number of dropped records.
///
/// # Errors
///
/// [`CaptureError`] if the capture cannot be read, or the table cannot be written.
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
    let mut write = |waiting: &mut Waiting| {
        let rows = waiting.take().map_err(failed)?;
        writer.write(&rows)
    };
    let (mut waiting, mut n_frames) = (Waiting::default(), 0);
    while let Some(batches) = capture.next()? {
        for batch in batches {
            n_frames += batch.len() as u64;
            waiting.push(batch);
        }
        if waiting.n_bytes >= BYTES_AT_ONCE {
            write(&mut waiting).map_err(write_failed)?;
        }
    }
    write(&mut waiting).map_err(write_failed)?;
    writer.finish().map_err(write_failed)?;
    if let Err(error) = capture.check_frames(n_frames) {
        // An empty table would look like a result.
        fs::remove_file(table).map_err(write_failed)?;
        return Err(error);
    }
    Ok((n_frames, capture.dropped().values().sum()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::array::AsArray;
    use arrow::datatypes::UInt32Type;
    use arrow::ipc::reader::FileReader;

    use super::*;

    /// Lines of two boards in turn, whose frames have two shapes.
    fn lines(n_lines: u32) -> String {
        let line = |nth: u32| {
            let list = vec!["1"; if nth.is_multiple_of(3) { 256 } else { 128 }].join(",");
            let board = nth % 2;
            format!(
                "CSI_DATA,{nth},94:d9:b3:80:8c:8{board},-30,11,-93,7,24,6,{nth},67,0,4,1,\"[{list}]\"\n"
            )
        };
        (0..n_lines).map(line).collect()
    }

    #[test]
    fn rows_are_in_the_order_of_the_capture() {
        let folder = tempfile::tempdir().expect("room");
        let (capture, table) = (folder.path().join("capture"), folder.path().join("table.arrow"));
        // More lines than fit in one write.
        let n_lines = 12_000;
        fs::write(&capture, lines(n_lines)).expect("room");
        let counts = convert(&capture, None, &table).expect("it is a capture");
        assert_eq!(counts, (n_lines.into(), 0));
        let file = File::open(table).expect("it was written");
        let mut sequence = Vec::new();
        for rows in FileReader::try_new(file, None).expect("it is a table") {
            let rows = rows.expect("they are there");
            let column = rows.column_by_name("sequence").expect("it is there");
            sequence.extend_from_slice(column.as_primitive::<UInt32Type>().values());
        }
        assert_eq!(sequence, (0..n_lines).collect::<Vec<_>>());
    }
}
