//! Records as Arrow tables and back, in one place for both directions.
//!
//! A record's serde form is its row: the same names serve JSON, Arrow and SQL. Each record type
//! lists its columns; `arrow`'s JSON encoder and decoder do the rest.

pub(crate) mod columns;
mod frames;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use serde::Serialize;

use crate::{PoseFrame, Record, RecordKind, RecordType};

pub use crate::table::frames::{frames_schema, frames_to_batch};

/// A failure to turn records into a table or a table into records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Arrow refused a value or a column.
    #[error("could not convert {table} rows")]
    Arrow {
        /// The table's name.
        table: &'static str,
        /// Arrow's error.
        source: ArrowError,
    },
    /// A row is not a record of that table.
    #[error("could not read a row of {table}")]
    Row {
        /// The table's name.
        table: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
}

/// Turns records into one record batch with the columns of their table.
///
/// # Errors
///
/// [`TableError::Arrow`] if a value does not fit its column.
pub fn to_batch<R: RecordType>(rows: &[R]) -> Result<RecordBatch, TableError> {
    R::KIND.encode(rows)
}

/// Turns a record batch with the columns of a table back into records.
///
/// # Errors
///
/// [`TableError`] if a column is missing or a value is not of the record.
pub fn from_batch<R: RecordType>(batch: &RecordBatch) -> Result<Vec<R>, TableError> {
    let table = R::KIND.table();
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    let written = writer.write(batch).and_then(|()| writer.finish());
    written.map_err(|source| TableError::Arrow { table, source })?;
    let rows = serde_json::Deserializer::from_slice(&lines).into_iter();
    rows.collect::<Result<_, _>>().map_err(|source| TableError::Row { table, source })
}

/// Returns the table name of a stream of rows. Streams such as `a.late` and `a_late` have the same table.
pub fn table_of_stream(stream: &str) -> String {
    stream.replace('.', "_")
}

impl Record {
    /// Returns the name of the record's table: that of its kind, or of its stream for rows.
    pub fn table(&self) -> Cow<'_, str> {
        match self {
            Self::Rows(rows) => table_of_stream(&rows.stream).into(),
            record => record.kind().table().into(),
        }
    }

    /// Returns a description of a value that does not fit its column, if there is one. Records with such a
    /// value cannot become a table: columns have no unsigned 64-bit numbers.
    pub fn misfit(&self) -> Option<String> {
        let Self::Pose(PoseFrame { frame_id, .. }) = self else { return None };
        let fits = i64::try_from(*frame_id).is_ok();
        (!fits).then(|| format!("frame_id {frame_id} is above {}", i64::MAX))
    }

    /// Turns records of one table into one batch with its columns.
    ///
    /// # Errors
    ///
    /// [`TableError::Arrow`] if a value does not fit its column ([`Record::misfit`]), or if records belong to
    /// different tables.
    pub fn to_batch(records: &[Self]) -> Result<RecordBatch, TableError> {
        let Some(Self::Rows(first)) = records.first() else {
            let kind = records.first().map_or(RecordKind::Rows, Self::kind);
            return kind.to_batch(records);
        };
        let batches = records.iter().filter_map(|record| match record {
            Self::Rows(rows) => Some(&rows.batch),
            _ => None,
        });
        concat_batches(&first.schema(), batches)
            .map_err(|source| TableError::Arrow { table: "rows", source })
    }
}

impl RecordKind {
    /// Returns the columns of the table; none for [`RecordKind::Rows`], because each stream of rows has its
    /// own.
    pub fn arrow_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; RecordKind::ALL.len()]> =
            LazyLock::new(|| RecordKind::ALL.map(|kind| Arc::new(Schema::new(kind.columns()))));
        SCHEMAS.get(self as usize).cloned().unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// Turns records of this kind into one record batch with the columns of their table.
    ///
    /// # Errors
    ///
    /// [`TableError::Arrow`] if a value does not fit its column, or if a record is of another kind.
    pub fn to_batch(self, rows: &[Record]) -> Result<RecordBatch, TableError> {
        self.encode(rows)
    }

    fn encode<S: Serialize>(self, rows: &[S]) -> Result<RecordBatch, TableError> {
        let (table, schema) = (self.table(), self.arrow_schema());
        let convert = || {
            let builder = ReaderBuilder::new(schema.clone()).with_batch_size(rows.len().max(1));
            let mut decoder = builder.build_decoder()?;
            decoder.serialize(rows)?;
            Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema.clone())))
        };
        convert().map_err(|source| TableError::Arrow { table, source })
    }
}

#[cfg(test)]
mod tests;
