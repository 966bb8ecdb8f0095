//! SQL over the history.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use queries::{Format, Limits};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Problem, RequestError};

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlQuery {
    /// One statement that only reads.
    q: String,
    /// `json` (default), `json_lines`, `csv`, `arrow`, `parquet` or `pretty`; else the `Accept` header.
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
    /// Longest time in milliseconds; 30000 by default and at most.
    timeout_ms: Option<u64>,
}

/// Answers a read-only SQL query over the history and what is about to be in it.
///
/// Tables: `poses`, `presence`, `occupancy`, `activities`, `events`, `csi`; and `persons`, with one row
/// for each person in each frame.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    request_body = SqlQuery,
    responses(
        (status = 200, description = "The rows, in the format that was asked for."),
        (status = 400, description = "The query makes no sense or does not only read.", body = Problem),
        (status = 404, description = "The pipeline keeps no history.", body = Problem),
        (status = 408, description = "The answer took too long.", body = Problem),
        (status = 413, description = "The answer has too many rows.", body = Problem),
    ),
)]
pub(crate) async fn query(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Json<SqlQuery>, JsonRejection>,
) -> Result<Response, RequestError> {
    let Json(query) = query.map_err(|error| RequestError::BadRequest(error.body_text()))?;
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let longest = Limits::default().timeout;
    let timeout = query.timeout_ms.map_or(longest, Duration::from_millis).min(longest);
    let answer = history.query(&query.q, Limits { timeout, ..Limits::default() }).await?;
    let format = query.format.or_else(|| accepted(&headers)).unwrap_or_default();
    let body = answer.encode(format)?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], body).into_response())
}

/// The first format whose media type the client names.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    let mut media_types =
        accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    media_types.find_map(|media_type| {
        Format::ALL
            .into_iter()
            .find(|format| format.media_type().split(';').next() == Some(media_type))
    })
}
