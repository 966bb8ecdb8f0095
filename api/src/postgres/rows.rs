//! Rows, as clients of `PostgreSQL` read them.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use futures::StreamExt as _;
use futures::future::{Either, ready};
use futures::stream::{iter, once};
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldInfo, QueryResponse, Response};
use pgwire::error::{PgWireError, PgWireResult};
use queries::{QueryError, Spool};

use crate::error::RequestError;
use crate::postgres::error::failure;

/// Returns the response with an answer.
pub(super) async fn response(answer: Spool, format: &Format) -> PgWireResult<Response> {
    let (schema, batches) = answer.into_batches().await.map_err(error)?;
    let columns = Arc::new(columns(&schema, format)?);
    let of_rows = Arc::clone(&columns);
    let rows = batches.flat_map(move |batch| match batch {
        Ok(batch) => Either::Left(iter(encode_recordbatch(Arc::clone(&of_rows), batch))),
        Err(failed) => Either::Right(once(ready(Err(error(failed))))),
    });
    Ok(Response::Query(QueryResponse::new(columns, rows)))
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
    arrow_schema_to_pg_fields(schema, format, None)
}

fn error(error: QueryError) -> PgWireError {
    RequestError::from(error).into()
}
