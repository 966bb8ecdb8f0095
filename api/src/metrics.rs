//! Counts of requests and messages, for Prometheus.
//!
//! Labels have few values: an endpoint is the pattern of a route, never the path of a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use engine::MetricKind::{Counter, Gauge};
use engine::Metrics;
use tokio::time::Instant;

/// The endpoint of paths that no route has.
const NO_ROUTE: &str = "none";
/// Upper bounds of the buckets of durations, in seconds. A last bucket without a bound counts longer ones.
const BOUNDS_S: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Counts of requests by endpoint and status, and of WebSocket messages.
#[derive(Debug, Default)]
pub(crate) struct RequestMetrics {
    /// By method and endpoint.
    endpoints: Mutex<BTreeMap<(&'static str, String), Endpoint>>,
    /// By direction and type.
    messages: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// The requests of one method to one endpoint.
#[derive(Debug, Default)]
struct Endpoint {
    n_by_status: BTreeMap<StatusCode, u64>,
    /// Number of requests in each bucket of durations; not cumulative.
    buckets: [u64; BOUNDS_S.len() + 1],
    duration: Duration,
}

/// Counts a request, and the time until its response begins.
pub(crate) async fn count(
    State(metrics): State<Arc<RequestMetrics>>,
    request: Request,
    next: Next,
) -> Response {
    let (started, method) = (Instant::now(), known(request.method()));
    let endpoint = request.extensions().get::<MatchedPath>();
    let endpoint = endpoint.map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    metrics.answered((method, endpoint), response.status(), started.elapsed());
    response
}

impl RequestMetrics {
    /// Counts a message that a WebSocket received.
    pub(crate) fn received(&self, kind: &'static str) {
        *lock(&self.messages).entry(("in", kind)).or_default() += 1;
    }

    /// Counts a message that is sent to a WebSocket.
    pub(crate) fn sent(&self, kind: &'static str) {
        *lock(&self.messages).entry(("out", kind)).or_default() += 1;
    }

    fn answered(&self, of: (&'static str, String), status: StatusCode, duration: Duration) {
        let mut endpoints = lock(&self.endpoints);
        let endpoint = endpoints.entry(of).or_default();
        *endpoint.n_by_status.entry(status).or_default() += 1;
        endpoint.buckets[BOUNDS_S.partition_point(|bound| *bound < duration.as_secs_f64())] += 1;
        endpoint.duration += duration;
    }

    /// Adds the counts to metrics.
    pub(crate) fn write(&self, n_websockets: usize, metrics: &mut Metrics) {
        self.write_requests(metrics);
        let open = [(String::new(), n_websockets as f64)];
        metrics.add(("websocket_connections_active", Gauge, "Open WebSockets."), open);
        let messages = lock(&self.messages);
        let messages = messages.iter().map(|((direction, kind), n)| {
            (format!("direction=\"{direction}\",type=\"{kind}\""), *n as f64)
        });
        let help = "Messages of WebSockets, by direction and type.";
        metrics.add(("websocket_messages_total", Counter, help), messages);
    }

    fn write_requests(&self, metrics: &mut Metrics) {
        let endpoints = lock(&self.endpoints);
        let by_status = || {
            endpoints.iter().flat_map(|((method, endpoint), counts)| {
                counts.n_by_status.iter().map(move |(status, n)| (*method, endpoint, *status, *n))
            })
        };
        let requests = by_status().map(|(method, endpoint, status, n)| {
            let status = status.as_u16();
            let labels = format!("method=\"{method}\",endpoint=\"{endpoint}\",status=\"{status}\"");
            (labels, n as f64)
        });
        metrics.add(("api_requests_total", Counter, "Requests, by status."), requests);
        let mut errors: BTreeMap<_, u64> = BTreeMap::new();
        for (_, endpoint, status, n) in
            by_status().filter(|(_, _, status, _)| status.as_u16() >= 400)
        {
            *errors.entry((endpoint, status)).or_default() += n;
        }
        let errors = errors.into_iter().map(|((endpoint, status), n)| {
            (format!("endpoint=\"{endpoint}\",error_type=\"{}\"", kind(status)), n as f64)
        });
        metrics.add(("api_errors_total", Counter, "Errors, by type."), errors);
        let durations = endpoints.iter().map(|((method, endpoint), counts)| {
            let labels = format!("method=\"{method}\",endpoint=\"{endpoint}\"");
            (labels, counts.buckets.as_slice(), counts.duration)
        });
        let help = "Time from a request to its response.";
        metrics.add_histogram(("api_request_duration_seconds", help), &BOUNDS_S, durations);
    }
}

/// Returns the name of a method that routes have.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Returns the type of an error: the words of its status.
fn kind(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("other").to_lowercase().replace(' ', "_")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_endpoint() {
        let requests = RequestMetrics::default();
        let of = |endpoint: &str| ("GET", endpoint.to_owned());
        let answered = |endpoint, status, ms| {
            requests.answered(of(endpoint), status, Duration::from_millis(ms));
        };
        answered("/a/{id}", StatusCode::OK, 10);
        answered("/a/{id}", StatusCode::OK, 30);
        answered("/a/{id}", StatusCode::NOT_FOUND, 9000);
        requests.sent("pong");
        let mut metrics = Metrics::default();
        requests.write(2, &mut metrics);
        let text = metrics.to_string();
        for line in [
            "api_requests_total{method=\"GET\",endpoint=\"/a/{id}\",status=\"200\"} 2",
            "api_errors_total{endpoint=\"/a/{id}\",error_type=\"not_found\"} 1",
            "api_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/a/{id}\",le=\"0.01\"} 1",
            "api_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/a/{id}\",le=\"0.05\"} 2",
            "api_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/a/{id}\",le=\"+Inf\"} 3",
            "api_request_duration_seconds_sum{method=\"GET\",endpoint=\"/a/{id}\"} 9.04",
            "websocket_connections_active 2",
            "websocket_messages_total{direction=\"out\",type=\"pong\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }
}
