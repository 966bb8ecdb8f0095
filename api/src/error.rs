//! Error responses: problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::ConfigurationError;
use queries::QueryError;
use schemas::TableError;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status code again.
    status: u16,
    /// The status in words.
    title: String,
    /// The problem of this request.
    detail: String,
}

/// A request that cannot be answered.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The requested item was not found.
    NotFound(&'static str),
    /// The request makes no sense.
    BadRequest(String),
    /// The body of the request is too long or broken.
    Body(axum::Error),
    /// The body of the request took longer than this.
    SlowBody(Duration),
    /// There are too many WebSockets and taps.
    TooManySessions,
    /// The pipeline keeps no history.
    NoHistory,
    /// The query failed.
    Query(QueryError),
    /// The history holds something that is no record.
    Table(TableError),
    /// Another process of the run can answer it.
    Elsewhere,
    /// The program ends before it is answered.
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
            Self::NotFound(_) | Self::NoHistory => StatusCode::NOT_FOUND,
            Self::BadRequest(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Table(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Elsewhere => StatusCode::MISDIRECTED_REQUEST,
            Self::Interrupted | Self::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
            Self::Configuration(error) => match error {
                ConfigurationError::NoSuchOperator { .. }
                | ConfigurationError::NoSuchZone { .. } => StatusCode::NOT_FOUND,
                ConfigurationError::Zone { .. } => StatusCode::BAD_REQUEST,
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
            Self::NotFound(what) => what.to_owned(),
            Self::BadRequest(detail) => detail,
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
