//! Rows, as clients of `PostgreSQL` read them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use futures::StreamExt as _;
use futures::future::{Either, ready};
use futures::stream::{iter, once};
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldInfo, QueryResponse, Response};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use queries::{Limits, QueryError, Spool};

use crate::error::RequestError;
use crate::postgres::error::failure;

/// Returns the response with an answer.
pub(super) async fn response(answer: Spool, format: &Format) -> PgWireResult<Response> {
    let (schema, batches) = answer.into_batches().await.map_err(error)?;
    let columns = Arc::new(columns(&schema, format)?);
    let shown = Arc::new(shown(&schema));
    let of_rows = Arc::clone(&columns);
    let rows =
        batches.flat_map(move |batch| match batch.and_then(|batch| convert(&batch, &shown)) {
            Ok(batch) => Either::Left(iter(encode_recordbatch(Arc::clone(&of_rows), batch))),
            Err(failed) => Either::Right(once(ready(Err(error(failed))))),
        });
    let mut n_bytes = 0;
    let limited = rows.map(move |row: PgWireResult<DataRow>| {
        let row = row?;
        n_bytes += row.data.len() as u64;
        let limit = Limits::default().bytes;
        if n_bytes > limit { Err(error(QueryError::TooManyBytes(limit))) } else { Ok(row) }
    });
    Ok(Response::Query(QueryResponse::new(columns, limited)))
}

/// Returns the columns of an answer.
pub(super) fn columns(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    if let Format::Individual(formats) = format
        && formats.len() != schema.fields().len()
    {
        let (n_formats, n_columns) = (formats.len(), schema.fields().len());
        let reason =
            format!("bind message has {n_formats} formats, but the query has {n_columns} columns");
        return Err(failure("08P01", reason));
    }
    let columns = arrow_schema_to_pg_fields(&shown(schema), format, None);
    columns.map_err(|error| failure("0A000", format!("{error}: select it as text, or over HTTP")))
}

/// Returns the columns with types that clients know: times in UTC, and text for rare types.
fn shown(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let of_client = match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
            DataType::Int8 => DataType::Int16,
            DataType::Float16 => DataType::Float32,
            DataType::Duration(_)
            | DataType::Decimal256(..)
            | DataType::FixedSizeBinary(_)
            | DataType::Dictionary(..) => DataType::Utf8,
            nested if is_deep(nested) => DataType::Utf8,
            known => known.clone(),
        };
        field.as_ref().clone().with_data_type(of_client)
    });
    Schema::new(fields.collect::<Vec<_>>()).with_metadata(schema.metadata().clone())
}

/// True for values that are shown as JSON: all that is nested, except lists of text. Some clients ask the catalog for
/// the types of other lists, in ways that only `PostgreSQL` can answer.
fn is_deep(of_value: &DataType) -> bool {
    match of_value {
        DataType::List(item) | DataType::LargeList(item) => !item.data_type().is_string(),
        other => other.is_nested(),
    }
}

fn convert_column(
    column: &ArrayRef,
    from: &FieldRef,
    to: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    if !is_deep(column.data_type()) {
        return cast(column, to.data_type());
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(from, column, &options)?;
    let texts = (0..column.len()).map(|row| {
        let mut json = Vec::new();
        (!encoder.is_null(row)).then(|| encoder.encode(row, &mut json));
        // JSON is UTF-8.
        Some(String::from_utf8(json).unwrap_or_default()).filter(|json| !json.is_empty())
    });
    Ok(Arc::new(texts.collect::<StringArray>()))
}

fn convert(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, QueryError> {
    let from = batch.schema();
    let columns = batch.columns().iter().zip(from.fields()).zip(schema.fields());
    let columns = columns.map(|((column, from), to)| convert_column(column, from, to));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let converted = columns.collect::<Result<Vec<_>, _>>().and_then(|columns| {
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    });
    converted.map_err(|error| QueryError::Failed(error.to_string()))
}

fn error(error: QueryError) -> PgWireError {
    RequestError::from(error).into()
}
