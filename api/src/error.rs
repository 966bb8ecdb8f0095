//! Error responses: problem details (RFC 9457).

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{ConfigurationError, StoreError};
use identity::{AccountError, CredentialError, Scope, Scopes};
use queries::QueryError;
use schemas::{TableError, error_and_causes};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::version::VERSIONS;

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
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The requested item was not found.
    #[error("{0}")]
    NotFound(String),
    /// No resource has this path.
    #[error("no resource has the path {0}: /api/v1/openapi.json lists all of them")]
    NoSuchPath(String),
    /// The resource does not support this method.
    #[error("the resource does not support {0}; the header `allow` lists its methods")]
    NoSuchMethod(Method),
    /// The server has no representation of the answer that the client accepts.
    #[error("no accepted media type is available: expected one of {0}")]
    NotAcceptable(String),
    /// There are as many items of this kind as there may be.
    #[error("there are {0} already: remove one first")]
    TooManyItems(usize),
    /// The API has no such version.
    #[error("there is no version {_0:?} of the API: expected one of {}", version_names())]
    NoSuchVersion(String),
    /// The request is invalid.
    #[error("{0}")]
    BadRequest(String),
    /// The body of the request is broken.
    #[error("could not read the request body: {0}")]
    Body(axum::BoxError),
    /// The body of the request is longer than this.
    #[error("the request body is longer than {} KiB", .0 / 1024)]
    LongBody(usize),
    /// The path and the query of the request are longer than this.
    #[error("the path and the query are longer than {} KiB", .0 / 1024)]
    LongUri(usize),
    /// The header of the request is longer than this.
    #[error("the request header is longer than {} KiB", .0 / 1024)]
    LongHeader(u32),
    /// The request has this many `Host` headers.
    #[error("expected one `host` header, found {0}")]
    Hosts(usize),
    /// The server does not have this name.
    #[error(
        "this server is not `{0}`; if it is, add the name to `hosts` in `[api]` of the pipeline file"
    )]
    UnknownHost(String),
    /// A web page of this origin sends the request.
    #[error(
        "pages of `{0}` may not ask this server; if they may, add it to `origins` in `[api]` of the pipeline \
         file"
    )]
    ForeignOrigin(String),
    /// The request has a cookie, and may be one of a foreign page.
    #[error(
        "a request with a cookie needs the header `Origin` or `Sec-Fetch-Site`; programs use a key or a token"
    )]
    NoOrigin,
    /// The request needs a credential, and has none.
    #[error(
        "sign in, or send an API key or an access token in the header `Authorization: Bearer ...`"
    )]
    NoCredential,
    /// The credential of the request is refused.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The credential does not allow all of this.
    #[error("the credential does not allow this: it needs {}", scopes(.0))]
    NoScope(&'static [Scope]),
    /// The user does not exist, or the password is wrong.
    #[error("the user or the password is wrong")]
    WrongPassword,
    /// Too many attempts to sign in have failed; the next one is allowed after this time.
    #[error("too many attempts have failed: try again in {} s", .0.as_secs() + 1)]
    TooManyAttempts(Duration),
    /// Too many passwords wait to be checked.
    #[error("too many users sign in at once: try again in a moment")]
    TooManySignIns,
    /// The bodies that are being received take all memory that they may.
    #[error("too many long requests at once: try again in a moment")]
    TooManyBodies,
    /// The client has used all requests of its tier; it has some again after this time.
    #[error("no requests are left for {} s: `x-ratelimit-limit` has the number of an hour", .0.as_secs() + 1)]
    TooManyRequests(Duration),
    /// The store of the accounts does not answer.
    #[error("the store of the accounts does not answer")]
    Unavailable,
    /// The store of the accounts failed.
    #[error("{}", error_and_causes(.0).join(": "))]
    Store(#[from] StoreError),
    /// A secret or a token could not be made.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The body of the request did not arrive within this time.
    #[error("the request body took longer than {} s", .0.as_secs_f64())]
    SlowBody(Duration),
    /// Too many WebSockets and taps are open.
    #[error("too many WebSockets and taps are open: close some, or try again later")]
    TooManySessions,
    /// The pipeline has no history.
    #[error("the pipeline has no delta sink, so there is no history")]
    NoHistory,
    /// The query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A row of the history is not a valid record.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A row of a query of this server does not have the columns that it should have.
    #[error(transparent)]
    Rows(serde_json::Error),
    /// Only another process of the run can answer the request.
    #[error("ask the first process of the run")]
    Elsewhere,
    /// The server ends before it can answer.
    #[error("the server ends")]
    Interrupted,
    /// The handler of the request panicked.
    #[error("the handler panicked")]
    Panicked,
    /// The configuration was not changed.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

impl RequestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) | Self::NoSuchPath(_) | Self::NoHistory => StatusCode::NOT_FOUND,
            Self::NoSuchMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) | Self::NoSuchVersion(_) => StatusCode::NOT_ACCEPTABLE,
            Self::BadRequest(_) | Self::Body(_) | Self::Hosts(_) => StatusCode::BAD_REQUEST,
            Self::LongBody(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LongUri(_) => StatusCode::URI_TOO_LONG,
            Self::LongHeader(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoCredential | Self::Credential(_) | Self::WrongPassword => {
                StatusCode::UNAUTHORIZED
            }
            Self::TooManyItems(_) => StatusCode::CONFLICT,
            Self::ForeignOrigin(_) | Self::NoOrigin | Self::NoScope(_) => StatusCode::FORBIDDEN,
            Self::TooManyAttempts(_) | Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Table(_) | Self::Rows(_) | Self::Panicked | Self::Account(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Elsewhere | Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Interrupted
            | Self::TooManySessions
            | Self::TooManySignIns
            | Self::TooManyBodies
            | Self::Unavailable
            | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Configuration(error) => status_of_configuration(error),
            Self::Query(error) => status_of_query(error),
        }
    }

    /// True for errors of the server whose cause is nothing for clients.
    fn is_internal(&self) -> bool {
        let is_broken = matches!(self, Self::Query(QueryError::NoWorker(_)) | Self::Store(_));
        is_broken || self.status() == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// Returns what the client may know. The cause of an error of the server is only in its log, under an id.
    pub(crate) fn into_detail(self) -> String {
        if !self.is_internal() {
            return self.to_string();
        }
        let (detail, id) = logged(&self);
        format!("{detail}: {}", id.unwrap_or_default())
    }

    /// Returns the challenge of a response to a request whose credential does not suffice (RFC 6750, section 3).
    fn challenge(&self) -> Option<String> {
        let error = match self {
            Self::NoCredential | Self::WrongPassword => String::new(),
            Self::Credential(error) => {
                format!(", error=\"invalid_token\", error_description=\"{error}\"")
            }
            Self::NoScope(needed) => {
                format!(", error=\"insufficient_scope\", scope=\"{}\"", scopes(needed))
            }
            _ => return None,
        };
        Some(format!("Bearer realm=\"fresnel\"{error}"))
    }

    /// Returns when the same request may succeed, in seconds.
    fn retry_after(&self) -> Option<u64> {
        match (self, self.status()) {
            (Self::TooManyAttempts(pause) | Self::TooManyRequests(pause), _) => {
                Some(pause.as_secs() + 1)
            }
            (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => Some(1),
            _ => None,
        }
    }
}

fn status_of_configuration(error: &ConfigurationError) -> StatusCode {
    match error {
        ConfigurationError::NoSuchOperator { .. } | ConfigurationError::NoSuchZone { .. } => {
            StatusCode::NOT_FOUND
        }
        ConfigurationError::Zone { .. } | ConfigurationError::Name => StatusCode::BAD_REQUEST,
        ConfigurationError::KnownThreshold { .. } => StatusCode::CONFLICT,
        ConfigurationError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_of_query(error: &QueryError) -> StatusCode {
    match error {
        QueryError::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
        QueryError::TooManyRows(_) | QueryError::TooManyBytes(_) => StatusCode::PAYLOAD_TOO_LARGE,
        QueryError::Format { .. } => StatusCode::NOT_ACCEPTABLE,
        QueryError::Exhausted(_) | QueryError::TooMuch => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Cancelled | QueryError::IdTaken(_) => StatusCode::CONFLICT,
        QueryError::Busy => StatusCode::TOO_MANY_REQUESTS,
        QueryError::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
        QueryError::NoWorker(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn version_names() -> String {
    VERSIONS.map(|version| version.name).join(", ")
}

fn scopes(needed: &[Scope]) -> Scopes {
    needed.iter().copied().collect()
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let (status, is_internal) = (self.status(), self.is_internal());
        let headers = [
            (header::WWW_AUTHENTICATE, self.challenge()),
            (header::RETRY_AFTER, self.retry_after().map(|seconds| seconds.to_string())),
        ];
        let (detail, instance) = if is_internal { logged(&self) } else { (self.to_string(), None) };
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let problem = Problem { status: status.as_u16(), title, detail, instance };
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, media_type, Json(problem)).into_response();
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value?).ok()?)));
        response.headers_mut().extend(headers);
        response
    }
}

/// Logs an error of the server under a new id. Its cause is nothing for the client.
fn logged(error: &RequestError) -> (String, Option<String>) {
    let id = Uuid::new_v4().urn().to_string();
    tracing::error!(%id, %error, "could not answer a request");
    ("the server failed; its log has the cause under this instance".to_owned(), Some(id))
}

/// The response to a request whose handler panicked.
pub(crate) fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    RequestError::Panicked.into_response()
}
