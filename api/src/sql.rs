//! SQL over the history.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use queries::{Format, Limits};
use schemas::TimeSpan;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::accept;
use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::parameters::JsonBody;

/// A query, and the format of its answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlQuery {
    /// One read-only statement.
    q: String,
    /// `json`, `json_lines`, `csv`, `arrow` (an IPC file), `arrow_stream`, `parquet` or `pretty`; by
    /// default the media type of the `Accept` header, or `json`.
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
    /// Time-out, such as `10s`; `30s` by default and at most.
    #[schema(value_type = Option<String>)]
    timeout: Option<TimeSpan>,
    /// Time-out in milliseconds: the old form of `timeout`.
    #[schema(deprecated)]
    timeout_ms: Option<u64>,
}

impl SqlQuery {
    fn timeout(&self) -> Duration {
        let longest = Limits::default().timeout;
        let timeout = self.timeout.or(self.timeout_ms.map(TimeSpan::from_ms));
        timeout.map_or(longest, Duration::from).min(longest)
    }
}

/// Answers a read-only SQL query over the history, including rows that are not committed yet.
///
/// Tables: `poses`, `presence`, `occupancy`, `activities`, `events`, `csi`; and `persons`, with one row
/// for each person in each frame.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    request_body = SqlQuery,
    responses(
        (status = 200, description = "The rows, in the requested format."),
        (status = 400, description = "The query is invalid or not read-only.", body = Problem),
        (status = 404, description = "The pipeline keeps no history.", body = Problem),
        (status = 406, description = "No accepted media type is available.", body = Problem),
        (status = 408, description = "The answer took too long.", body = Problem),
        (status = 413, description = "The answer has too many rows.", body = Problem),
    ),
)]
pub(crate) async fn query(
    State(app): State<App>,
    headers: HeaderMap,
    JsonBody(query): JsonBody<SqlQuery>,
) -> Result<Response, RequestError> {
    let format = query.format.map_or_else(|| accept::format(&headers), Ok)?;
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let limits = Limits { timeout: query.timeout(), ..Limits::default() };
    let answer = history.query(&query.q, limits).await?;
    let body = answer.encode(format)?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], body).into_response())
}
