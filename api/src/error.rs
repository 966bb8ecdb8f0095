//! Error responses: problem details (RFC 9457).

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::ConfigurationError;
use queries::QueryError;
use schemas::TableError;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The body of an error response: problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status code.
    status: u16,
    /// The standard text of the status code, such as `Not Found`.
    title: String,
    /// The cause of the error for this request.
    detail: String,
    /// The id of an error of the server, under which its log has the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

/// A request that cannot be answered.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The requested item was not found.
    NotFound(String),
    /// No resource has this path.
    NoSuchPath(String),
    /// The resource does not support this method.
    NoSuchMethod(Method),
    /// The server has no representation of the answer that the client accepts.
    NotAcceptable(String),
    /// The request is invalid.
    BadRequest(String),
    /// The body of the request is broken.
    Body(axum::BoxError),
    /// The body of the request is longer than this.
    LongBody(usize),
    /// The path and the query of the request are longer than this.
    LongUri(usize),
    /// The header of the request is longer than this.
    LongHeader(u32),
    /// The request has this many `Host` headers.
    Hosts(usize),
    /// The server does not have this name.
    UnknownHost(String),
    /// A web page of this origin sends the request.
    ForeignOrigin(String),
    /// The body of the request did not arrive within this time.
    SlowBody(Duration),
    /// Too many WebSockets and taps are open.
    TooManySessions,
    /// The pipeline has no history.
    NoHistory,
    /// The query failed.
    Query(QueryError),
    /// A row of the history is not a valid record.
    Table(TableError),
    /// A row of a query of this server does not have the columns that it should have.
    Rows(serde_json::Error),
    /// Only another process of the run can answer the request.
    Elsewhere,
    /// The server ends before it can answer.
    Interrupted,
    /// The handler of the request panicked.
    Panicked,
    /// The configuration was not changed.
    Configuration(ConfigurationError),
}

impl From<ConfigurationError> for RequestError {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

impl From<QueryError> for RequestError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<TableError> for RequestError {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl RequestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) | Self::NoSuchPath(_) | Self::NoHistory => StatusCode::NOT_FOUND,
            Self::NoSuchMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::BadRequest(_) | Self::Body(_) | Self::Hosts(_) => StatusCode::BAD_REQUEST,
            Self::LongBody(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LongUri(_) => StatusCode::URI_TOO_LONG,
            Self::LongHeader(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ForeignOrigin(_) => StatusCode::FORBIDDEN,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Table(_) | Self::Rows(_) | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Elsewhere | Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Interrupted | Self::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
            Self::Configuration(error) => match error {
                ConfigurationError::NoSuchOperator { .. }
                | ConfigurationError::NoSuchZone { .. } => StatusCode::NOT_FOUND,
                ConfigurationError::Zone { .. } | ConfigurationError::Name => {
                    StatusCode::BAD_REQUEST
                }
                ConfigurationError::KnownThreshold { .. } => StatusCode::CONFLICT,
                ConfigurationError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Query(error) => match error {
                QueryError::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
                QueryError::TooManyRows(_) | QueryError::TooManyBytes(_) => {
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                QueryError::Format { .. } => StatusCode::NOT_ACCEPTABLE,
                QueryError::Exhausted(_) => StatusCode::UNPROCESSABLE_ENTITY,
                QueryError::Cancelled | QueryError::IdTaken(_) => StatusCode::CONFLICT,
                QueryError::Busy => StatusCode::TOO_MANY_REQUESTS,
                QueryError::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
                QueryError::NoWorker(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }

    /// True for errors of the server whose cause is nothing for clients.
    fn is_internal(&self) -> bool {
        let is_broken = matches!(self, Self::Query(QueryError::NoWorker(_)));
        is_broken || self.status() == StatusCode::INTERNAL_SERVER_ERROR
    }

    fn detail(self) -> String {
        match self {
            Self::NotFound(detail) | Self::BadRequest(detail) => detail,
            Self::NoSuchPath(path) => {
                format!("no resource has the path {path}: /api/v1/openapi.json lists all of them")
            }
            Self::NoSuchMethod(method) => {
                format!(
                    "the resource does not support {method}; the header `allow` lists its methods"
                )
            }
            Self::NotAcceptable(available) => {
                format!("no accepted media type is available: expected one of {available}")
            }
            Self::Body(error) => format!("could not read the request body: {error}"),
            Self::LongBody(limit) => {
                format!("the request body is longer than {} KiB", limit / 1024)
            }
            Self::LongUri(limit) => {
                format!("the path and the query are longer than {} KiB", limit / 1024)
            }
            Self::LongHeader(limit) => {
                format!("the request header is longer than {} KiB", limit / 1024)
            }
            Self::Hosts(n_hosts) => {
                format!("expected one `host` header, found {n_hosts}")
            }
            Self::UnknownHost(host) => format!(
                "this server is not `{host}`; if it is, add the name to `hosts` in `[api]` of the pipeline file"
            ),
            Self::ForeignOrigin(origin) => format!(
                "pages of `{origin}` may not ask this server; if they may, add it to `origins` in `[api]` of \
                 the pipeline file"
            ),
            Self::SlowBody(limit) => {
                format!("the request body took longer than {} s", limit.as_secs_f64())
            }
            Self::TooManySessions => {
                "too many WebSockets and taps are open: close some, or try again later".to_owned()
            }
            Self::NoHistory => "the pipeline has no delta sink, so there is no history".to_owned(),
            Self::Query(error) => error.to_string(),
            Self::Table(error) => error.to_string(),
            Self::Rows(error) => error.to_string(),
            Self::Elsewhere => "ask the first process of the run".to_owned(),
            Self::Interrupted => "the server ends".to_owned(),
            Self::Panicked => "the handler panicked".to_owned(),
            Self::Configuration(error) => error.to_string(),
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let (status, is_internal) = (self.status(), self.is_internal());
        let (detail, instance) = if is_internal { logged(self) } else { (self.detail(), None) };
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let problem = Problem { status: status.as_u16(), title, detail, instance };
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, media_type, Json(problem)).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Logs an error of the server under a new id. Its cause is nothing for the client.
fn logged(error: RequestError) -> (String, Option<String>) {
    let id = Uuid::new_v4().urn().to_string();
    tracing::error!(%id, error = error.detail(), "could not answer a request");
    ("the server failed; its log has the cause under this instance".to_owned(), Some(id))
}

/// The response to a request whose handler panicked.
pub(crate) fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    RequestError::Panicked.into_response()
}
