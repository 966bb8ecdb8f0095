//! Validators and a cache of responses.
//!
//! Responses have an `ETag`, so that a client that repeats a request receives 304 if nothing has changed. Responses
//! of `analytics` need queries over much of the history, so they are cached for a few seconds.
//!
//! Source: RFC 9110, sections 8.8 and 13.1.2; RFC 9111, section 5.2.2.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use crate::paging::IsList;

/// Longest body that has a validator or is kept.
const MAX_BYTES: u64 = 1 << 20;
/// How long an answer is kept.
const MAX_AGE: Duration = Duration::from_secs(5);
/// The most answers that are kept.
const MAX_ANSWERS: usize = 64;
/// Clients may keep responses, but ask each time whether they are still valid.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Hashes bodies with a random key, which is new after each start.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Adds an `ETag` to the response to a GET, and answers with 304 if the client has it.
pub(crate) async fn validate(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let has_own_rules = response.headers().contains_key(header::CACHE_CONTROL);
    if !is_get || response.status() != StatusCode::OK || has_own_rules {
        return response;
    }
    match complete(response).await {
        Ok((parts, body)) => validated(parts, body, known.as_ref()),
        Err(response) => response,
    }
}

fn validated(mut parts: Parts, body: Bytes, known: Option<&HeaderValue>) -> Response {
    let tag = format!("W/\"{:016x}\"", HASHER.hash_one(&body));
    let is_known = known.and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known.split(',').any(|known| known.trim() == tag || known.trim() == "*")
    });
    parts.headers.insert(header::CACHE_CONTROL, REVALIDATE);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if !is_known {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

/// Returns the parts of a response whose body is complete and not long; others are returned as they are.
async fn complete(response: Response) -> Result<(Parts, Bytes), Response> {
    let length = response.body().size_hint().exact();
    if length.is_none_or(|length| length > MAX_BYTES) {
        return Err(response);
    }
    let (parts, body) = response.into_parts();
    match to_bytes(body, MAX_BYTES as usize).await {
        Ok(body) => Ok((parts, body)),
        Err(_) => Err(Response::from_parts(parts, Body::empty())),
    }
}

/// Answers that were given a moment ago, by path and query.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<HashMap<String, Answer>>);

#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    headers: HeaderMap,
    is_list: Option<IsList>,
    body: Bytes,
}

impl Answers {
    fn get(&self, question: &str) -> Option<Answer> {
        self.lock().get(question).filter(|answer| answer.at.elapsed() < MAX_AGE).cloned()
    }

    fn keep(&self, question: String, answer: Answer) {
        let mut answers = self.lock();
        answers.retain(|_, answer| answer.at.elapsed() < MAX_AGE);
        if answers.len() < MAX_ANSWERS {
            answers.insert(question, answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a GET as it was answered a moment ago.
pub(crate) async fn reuse(
    State(answers): State<Arc<Answers>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let question = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    if let Some(Answer { at, headers, is_list, body }) = answers.get(&question) {
        let mut response = (is_list.map(Extension), Body::from(body)).into_response();
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::AGE, at.elapsed().as_secs().into());
        return response;
    }
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    match complete(response).await {
        Ok((parts, body)) => {
            let (headers, at) = (parts.headers.clone(), Instant::now());
            let is_list = parts.extensions.get().copied();
            answers.keep(question, Answer { at, headers, is_list, body: body.clone() });
            Response::from_parts(parts, Body::from(body))
        }
        Err(response) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(response: &Response) -> HeaderValue {
        response.headers()[header::ETAG].clone()
    }

    #[tokio::test]
    async fn what_has_not_changed_is_not_sent_again() {
        let response = |body: &'static str, known: Option<&HeaderValue>| {
            let (parts, _) = body.into_response().into_parts();
            validated(parts, Bytes::from_static(body.as_bytes()), known)
        };
        let first = response("a", None);
        assert_eq!(first.headers()[header::CACHE_CONTROL], REVALIDATE);
        let again = response("a", Some(&tag(&first)));
        assert_eq!((again.status(), tag(&again)), (StatusCode::NOT_MODIFIED, tag(&first)));
        let changed = response("b", Some(&tag(&first)));
        assert_eq!(changed.status(), StatusCode::OK);
        let several = format!("\"x\", {}", tag(&first).to_str().expect("text"));
        let several = HeaderValue::from_str(&several).expect("a header");
        assert_eq!(response("a", Some(&several)).status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn streams_have_no_validator() {
        let parts = futures::stream::iter([Ok::<_, axum::Error>(Bytes::from_static(b"a"))]);
        assert!(complete(Response::new(Body::from_stream(parts))).await.is_err());
    }

    #[test]
    fn answers_are_kept_for_a_moment() {
        let answers = Answers::default();
        let answer = |age: Duration| {
            let at = Instant::now().checked_sub(age).expect("the system runs for longer");
            Answer { at, headers: HeaderMap::new(), is_list: None, body: Bytes::new() }
        };
        for n in 0..MAX_ANSWERS + 5 {
            answers.keep(n.to_string(), answer(Duration::ZERO));
        }
        assert_eq!(answers.lock().len(), MAX_ANSWERS);
        assert!(answers.get("0").is_some());
        let answers = Answers::default();
        answers.keep("old".to_owned(), answer(MAX_AGE));
        assert!(answers.get("old").is_none());
        answers.keep("new".to_owned(), answer(Duration::ZERO));
        assert_eq!(answers.lock().len(), 1);
    }
}
