//! SQL over the history.

mod request;
mod values;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use queries::{History, Query, QueryError, Spool};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::accept;
use crate::app::App;
use crate::client::Client;
use crate::error::{Problem, RequestError};
use crate::openapi::QueryProblems;
use crate::parameters::{JsonBody, Parameters, Segment};
use crate::sql::request::{Asked, InfluxQuery, SqlQuery};

/// Marks responses that are sent as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncompressed;

/// The header with the id of a query.
pub(crate) const QUERY_ID: HeaderName = HeaderName::from_static("x-query-id");
/// Longest answer that is compressed: the server has few threads for that.
const MAX_COMPRESSED_BYTES: u64 = 1 << 20;
/// Longest id of a query.
const MAX_ID_BYTES: usize = 64;

/// Answers a read-only SQL query over the history, including rows that are not committed yet.
///
/// Tables: `poses`, `presence`, `occupancy`, `activities`, `events`, `csi`; and `persons`, with one row
/// for each person in each frame. The header `X-Query-Id` names the query; without it, the response has
/// the id of its query there.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    request_body = SqlQuery,
    responses(
        (status = 200, description = "The rows, in the requested format."),
        (status = 406, description = "No accepted media type is available.", body = Problem),
        (status = 409, description = "A query with this id runs, or the query was cancelled.", body = Problem),
        QueryProblems,
    ),
)]
pub(crate) async fn query(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    JsonBody(query): JsonBody<SqlQuery>,
) -> Result<Response, RequestError> {
    respond(&app, &client, &headers, query.try_into()?).await
}

/// Answers a read-only SQL query that is in the URL.
#[utoipa::path(
    get,
    path = "/api/v1/sql",
    params(SqlQuery),
    responses(
        (status = 200, description = "The rows, in the requested format."),
        (status = 406, description = "No accepted media type is available.", body = Problem),
        (status = 409, description = "A query with this id runs, or the query was cancelled.", body = Problem),
        QueryProblems,
    ),
)]
pub(crate) async fn query_of_url(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Parameters(query): Parameters<SqlQuery>,
) -> Result<Response, RequestError> {
    respond(&app, &client, &headers, query.try_into()?).await
}

/// Answers a query in the form of `InfluxDB` 3.
#[utoipa::path(
    post,
    path = "/api/v3/query_sql",
    request_body = InfluxQuery,
    responses(
        (status = 200, description = "The rows, in the requested format."),
        QueryProblems,
    ),
)]
pub(crate) async fn influx_query(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    JsonBody(query): JsonBody<InfluxQuery>,
) -> Result<Response, RequestError> {
    respond(&app, &client, &headers, query.try_into()?).await
}

/// Answers a query in the form of `InfluxDB` 3, in the URL.
#[utoipa::path(
    get,
    path = "/api/v3/query_sql",
    params(InfluxQuery),
    responses(
        (status = 200, description = "The rows, in the requested format."),
        QueryProblems,
    ),
)]
pub(crate) async fn influx_query_of_url(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Parameters(query): Parameters<InfluxQuery>,
) -> Result<Response, RequestError> {
    respond(&app, &client, &headers, query.try_into()?).await
}

/// Cancels a query that waits or runs.
#[utoipa::path(
    delete,
    path = "/api/v1/sql/{id}",
    params(("id" = String, Path, description = "The id of the query, as its header `X-Query-Id` has it.")),
    responses(
        (status = 204, description = "The query is cancelled."),
        (status = 404, description = "No query of this client has this id.", body = Problem),
    ),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    client: Client,
    Segment(id): Segment,
) -> Result<StatusCode, RequestError> {
    if app.workers.cancel(&id, &client.to_string()) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(RequestError::NotFound(format!("no query with the id `{id}` is running")))
    }
}

async fn respond(
    app: &App,
    client: &Client,
    headers: &HeaderMap,
    asked: Asked,
) -> Result<Response, RequestError> {
    let format = asked.format.map_or_else(|| accept::format(headers), Ok)?;
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let id = id_of(headers)?;
    let (query, client) = (asked.with_format(format), client.to_string());
    let mut response = match app.workers.answer(history, query, &id, &client).await {
        Ok(answer) => body(answer, format.media_type()).await,
        Err(error) => RequestError::from(error).into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(QUERY_ID, id);
    }
    Ok(response)
}

/// Answers a query of this server, for a client.
pub(crate) async fn answer(
    app: &App,
    history: &Arc<History>,
    query: Query,
    client: &Client,
) -> Result<Spool, QueryError> {
    answer_as(app, history, query, &client.to_string()).await
}

/// Answers a query of this server, for the client of a name.
pub(crate) async fn answer_as(
    app: &App,
    history: &Arc<History>,
    query: Query,
    client: &str,
) -> Result<Spool, QueryError> {
    app.resources.answer(history, query, &new_id(), client).await
}

/// Returns the rows of a query of this server, for a client. The format of the query is JSON.
pub(crate) async fn rows<T: DeserializeOwned>(
    app: &App,
    query: Query,
    client: &Client,
) -> Result<Vec<T>, RequestError> {
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let rows = answer(app, history, query, client).await?.into_bytes().await?;
    serde_json::from_slice(&rows).map_err(RequestError::Rows)
}

/// Returns the response with an answer.
pub(crate) async fn body(answer: Spool, media_type: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(answer.len())),
    ];
    let is_long = answer.len() > MAX_COMPRESSED_BYTES;
    match answer.into_stream().await {
        Ok(parts) if is_long => {
            (headers, Extension(Uncompressed), Body::from_stream(parts)).into_response()
        }
        Ok(parts) => (headers, Body::from_stream(parts)).into_response(),
        Err(_) => RequestError::from(QueryError::NoRoom).into_response(),
    }
}

/// Returns the id that the client chose, or a new one.
fn id_of(headers: &HeaderMap) -> Result<String, RequestError> {
    let Some(id) = headers.get(QUERY_ID) else { return Ok(new_id()) };
    let is_id = |id: &&str| {
        let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"_-".contains(&letter);
        (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_letter)
    };
    let id = id.to_str().ok().filter(is_id).map(str::to_owned);
    id.ok_or_else(|| {
        let detail = "`X-Query-Id` must have 1 to 64 letters, digits, `_` and `-`";
        RequestError::BadRequest(detail.to_owned())
    })
}

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}
