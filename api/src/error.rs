//! Error responses: problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::ConfigurationError;
use queries::QueryError;
use schemas::TableError;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error response: problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status code.
    status: u16,
    /// The standard text of the status code, such as `Not Found`.
    title: String,
    /// The cause of the error for this request.
    detail: String,
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
    /// The body of the request is too long or broken.
    Body(axum::Error),
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
    /// Only another process of the run can answer the request.
    Elsewhere,
    /// The server ends before it can answer.
    Interrupted,
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
            Self::BadRequest(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Table(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Elsewhere => StatusCode::MISDIRECTED_REQUEST,
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
                QueryError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
                QueryError::Format { .. } => StatusCode::NOT_ACCEPTABLE,
                QueryError::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            },
        }
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
            Self::Body(error) => {
                format!("could not read the request body, of at most 1 MiB: {error}")
            }
            Self::SlowBody(limit) => {
                format!("the request body took longer than {} s", limit.as_secs_f64())
            }
            Self::TooManySessions => {
                "too many WebSockets and taps are open: close some, or try again later".to_owned()
            }
            Self::NoHistory => "the pipeline has no delta sink, so there is no history".to_owned(),
            Self::Query(error) => error.to_string(),
            Self::Table(error) => error.to_string(),
            Self::Elsewhere => "ask the first process of the run".to_owned(),
            Self::Interrupted => "the server ends".to_owned(),
            Self::Configuration(error) => error.to_string(),
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: self.detail(),
        };
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(problem))
            .into_response()
    }
}
