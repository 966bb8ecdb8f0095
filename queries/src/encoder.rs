//! Encodes batches of rows in a format, one after the other.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, RecordBatchWriter};
use arrow::csv;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::ArrowWriter;

use crate::Format;

/// Rows that are encoded at once: they bound the memory of an encoder.
const MAX_ROWS: usize = 1024;

/// Writes the rows of an answer in a format.
///
/// All formats but `parquet` and `pretty` write each batch at once; `parquet` keeps the rows of a row group,
/// and `pretty` all rows, because the widest value decides the width of a column.
pub(crate) struct Encoder<'a> {
    schema: SchemaRef,
    writer: Box<dyn BatchWriter + Send + 'a>,
    /// True for formats that write the memory of a batch as it is.
    is_arrow: bool,
    is_empty: bool,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(
        format: Format,
        schema: SchemaRef,
        output: impl Write + Send + 'a,
    ) -> Result<Self, ArrowError> {
        let json = JsonBuilder::new().with_explicit_nulls(true);
        let writer: Box<dyn BatchWriter + Send + 'a> = match format {
            Format::Json => Box::new(json.build::<_, JsonArray>(output)),
            Format::JsonLines => Box::new(json.build::<_, LineDelimited>(output)),
            Format::Csv => Box::new(csv::WriterBuilder::new().with_header(true).build(output)),
            Format::Arrow => Box::new(FileWriter::try_new(output, &schema)?),
            Format::ArrowStream => Box::new(StreamWriter::try_new(output, &schema)?),
            Format::Parquet => Box::new(ArrowWriter::try_new(output, Arc::clone(&schema), None)?),
            Format::Pretty => Box::new(Pretty { output, batches: Vec::new() }),
            Format::Expanded => Box::new(Expanded { output, n_rows: 0 }),
        };
        let is_arrow = matches!(format, Format::Arrow | Format::ArrowStream);
        Ok(Self { schema, writer, is_arrow, is_empty: true })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let n_rows = batch.num_rows();
        for start in (0..n_rows).step_by(MAX_ROWS) {
            self.is_empty = false;
            let part = batch.slice(start, MAX_ROWS.min(n_rows - start));
            self.writer.write(&if self.is_arrow { compacted(&part)? } else { part })?;
        }
        Ok(())
    }

    /// Writes the end of the format. An answer without rows still has a header.
    pub(crate) fn finish(mut self) -> Result<(), ArrowError> {
        if self.is_empty {
            self.writer.write(&RecordBatch::new_empty(self.schema))?;
        }
        self.writer.close()
    }
}

/// Drops the texts that no row refers to. After a sort, each batch has the texts of all others.
fn compacted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options)
}

/// Returns why a format cannot represent rows.
pub(crate) fn reason(error: &ArrowError) -> String {
    let reason = error.to_string();
    if reason.contains("Nested type") {
        return "it has no lists and structs; select other columns, or use json, json_lines, arrow or parquet"
            .to_owned();
    }
    reason
}

/// [`RecordBatchWriter`] for writers whose type is not known at compile time.
trait BatchWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;
    fn close(self: Box<Self>) -> Result<(), ArrowError>;
}

impl<W: RecordBatchWriter> BatchWriter for W {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        RecordBatchWriter::write(self, batch)
    }

    fn close(self: Box<Self>) -> Result<(), ArrowError> {
        RecordBatchWriter::close(*self)
    }
}

/// A table drawn in text.
struct Pretty<W> {
    output: W,
    batches: Vec<RecordBatch>,
}

impl<W: Write> RecordBatchWriter for Pretty<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.batches.push(batch.clone());
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        let table = pretty_format_batches(&self.batches)?;
        Ok(writeln!(self.output, "{table}")?)
    }
}

/// A line of text for each value.
struct Expanded<W> {
    output: W,
    n_rows: usize,
}

impl<W: Write> RecordBatchWriter for Expanded<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let schema = batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let options = FormatOptions::default();
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.n_rows += 1;
            writeln!(self.output, "-- row {}", self.n_rows)?;
            for (name, column) in names.iter().zip(&columns) {
                let value = column.value(row).try_to_string()?;
                writeln!(self.output, "{name:<width$} | {value}")?;
            }
        }
        Ok(())
    }

    fn close(self) -> Result<(), ArrowError> {
        Ok(())
    }
}
