//! Health, counters and performance of a running pipeline.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use engine::{Counts, MetricKind, Metrics, Plan, Retry};
use queries::Workers;
use schemas::EstimatorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::metrics::RequestMetrics;
use crate::server::Connections;
use crate::wall_clock::now;

/// The health of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`; `degraded` while a component retries after a failure; `unhealthy` when a failure ends the
    /// pipeline.
    status: &'static str,
    /// The failure that ends the pipeline, with its causes.
    error: Option<String>,
    /// The server's time.
    timestamp: DateTime<Utc>,
    /// The health of each component, by name. Includes `checkpoints`, `configuration` and `lease` while the
    /// store fails.
    components: BTreeMap<String, ComponentHealth>,
}

/// The health of a component.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentHealth {
    /// `running`; `retrying` after a failure; `outage` while an external system is unreachable; `ended`.
    state: &'static str,
    /// Time of the first failure since the last success, if there is one.
    since: Option<DateTime<Utc>>,
    /// Number of failures since the last success.
    failures: u64,
    /// The latest failure and its causes.
    error: Option<String>,
}

impl ComponentHealth {
    fn new(name: &str, health: &engine::Health) -> Self {
        let state = if health.has_ended(name) { "ended" } else { "running" };
        Self { state, since: None, failures: 0, error: None }
    }
}

impl From<Retry> for ComponentHealth {
    fn from(retry: Retry) -> Self {
        let Retry { since, n_failures: failures, is_outage, error } = retry;
        let state = if is_outage { "outage" } else { "retrying" };
        Self { state, since: Some(since.into()), failures, error: Some(error) }
    }
}

/// Returns the health of the pipeline.
#[utoipa::path(
    get,
    path = "/api/v1/system/health",
    responses(
        (status = 200, description = "It runs; it may be waiting for something.", body = Health),
        (status = 503, description = "A failure ends it.", body = Health),
    ),
)]
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (plan, health) = (&app.shared.plan, &app.shared.health);
    let names = plan.components().into_iter().map(|(name, _)| name);
    let components = names.map(|name| (name.to_owned(), ComponentHealth::new(name, health)));
    let mut components: BTreeMap<_, _> = components.collect();
    let retries = health.retries();
    let error = health.failure();
    let (code, status) = match (&error, retries.is_empty()) {
        (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (None, false) => (StatusCode::OK, "degraded"),
        (None, true) => (StatusCode::OK, "healthy"),
    };
    components.extend(retries.into_iter().map(|(name, retry)| (name, retry.into())));
    (code, Json(Health { status, error, timestamp: now(), components }))
}

/// Says that the server answers.
#[utoipa::path(
    get,
    path = "/health/live",
    responses((status = 204, description = "The server answers.")),
)]
pub(crate) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Says whether the pipeline takes work: it does not after a request to stop, nor after a failure.
#[utoipa::path(
    get,
    path = "/health/ready",
    responses(
        (status = 204, description = "It runs."),
        (status = 503, description = "It ends.", body = Problem),
    ),
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<StatusCode, RequestError> {
    let is_ending = app.shared.stop.load(Ordering::Relaxed);
    if is_ending || app.shared.health.failure().is_some() {
        return Err(RequestError::Interrupted);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The state and the counters of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// Always `running`.
    #[serde(rename = "status")]
    state: &'static str,
    /// The pipeline's name.
    pipeline: String,
    /// Seconds since the start of the run.
    uptime_seconds: f64,
    /// Number of people in the newest frames of all sources except ground truth.
    total_persons_tracked: usize,
    /// The counters of each component.
    components: BTreeMap<String, ComponentStatus>,
}

/// The counters of a component.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentStatus {
    /// Records that a source read or a sink accepted.
    records: u64,
    /// Records that arrived after their tick.
    late: u64,
    /// Records that were dropped, by reason.
    dropped: BTreeMap<&'static str, u64>,
}

impl From<Counts> for ComponentStatus {
    fn from(counts: Counts) -> Self {
        Self { records: counts.records, late: counts.late, dropped: counts.dropped }
    }
}

/// Returns the counters of the pipeline.
#[utoipa::path(
    get,
    path = "/api/v1/system/status",
    responses((status = 200, description = "What it does.", body = Status)),
)]
pub(crate) async fn status(State(app): State<App>) -> Json<Status> {
    let shared = &app.shared;
    let mut frames = shared.hub.latest_poses();
    frames.retain(|frame| frame.estimator.kind != EstimatorKind::GroundTruth);
    let counts = shared.counters.snapshot().into_iter();
    Json(Status {
        state: "running",
        pipeline: shared.plan.name.clone(),
        uptime_seconds: shared.started.elapsed().as_secs_f64(),
        total_persons_tracked: frames.iter().map(|frame| frame.persons.len()).sum(),
        components: counts.map(|(name, counts)| (name, counts.into())).collect(),
    })
}

/// The cost and the progress of each component.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Performance {
    /// Seconds since the start of the run.
    uptime_seconds: f64,
    /// The component that delays the others: the component with the lowest clock.
    held_by: Option<String>,
    /// The components, by name.
    components: BTreeMap<String, Load>,
}

/// The cost and the progress of a component.
#[derive(Debug, Serialize, ToSchema)]
struct Load {
    /// Records that a source read or a sink accepted.
    records: u64,
    /// Records that arrived after their tick.
    late: u64,
    /// Records that were dropped, for any reason.
    dropped: u64,
    /// Records that were dropped, by reason.
    dropped_by_reason: BTreeMap<&'static str, u64>,
    /// Records that the component sent to other components.
    sent: u64,
    /// Approximate bytes of the records that the component sent.
    sent_bytes: u64,
    /// Seconds that the component's operators worked, on all workers together.
    busy_seconds: f64,
    /// The tick that a source or an operator has reached, or the first tick that is not durable in a sink,
    /// in milliseconds since the Unix epoch.
    clock_ms: Option<u64>,
    /// Event time between the most advanced component and this component, in seconds.
    lag_seconds: Option<f64>,
    /// Length of the queue: polls of a source, or ticks of a sink.
    queued: usize,
}

/// Returns the cost and the progress of each component.
#[utoipa::path(
    get,
    path = "/api/v1/system/performance",
    responses((status = 200, description = "What it costs.", body = Performance)),
)]
pub(crate) async fn performance(State(app): State<App>) -> Json<Performance> {
    let shared = &app.shared;
    let counts = shared.counters.snapshot();
    let newest = counts.values().filter_map(Counts::clock).max();
    let components = counts.iter().map(|(name, counts)| {
        let clock_ms = counts.clock();
        let load = Load {
            records: counts.records,
            late: counts.late,
            dropped: counts.dropped.values().sum(),
            dropped_by_reason: counts.dropped.clone(),
            sent: counts.sent,
            sent_bytes: counts.sent_bytes,
            busy_seconds: counts.busy.as_secs_f64(),
            clock_ms,
            lag_seconds: newest.zip(clock_ms).map(|(newest, clock)| (newest - clock) as f64 * 1e-3),
            queued: counts.queued(),
        };
        (name.clone(), load)
    });
    Json(Performance {
        uptime_seconds: shared.started.elapsed().as_secs_f64(),
        held_by: held_by(&shared.plan, &counts),
        components: components.collect(),
    })
}

/// Returns the component with the lowest clock; of several, the first in the order of the plan.
fn held_by(plan: &Plan, counts: &BTreeMap<String, Counts>) -> Option<String> {
    let components = plan.components().into_iter();
    let clocks = components.filter_map(|(name, _)| Some((name, counts.get(name)?.clock()?)));
    clocks.min_by_key(|(_, clock)| *clock).map(|(name, _)| name.to_owned())
}

/// Returns all counters in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The counters.", body = String)),
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut metrics = Metrics::default();
    app.shared.counters.write(&mut metrics);
    let workers = [&*app.workers, &*app.resources];
    write_metrics(&app.server.connections, &app.requests, workers, &mut metrics);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.to_string())
}

/// Returns the descriptions of the metrics of the API, without values.
pub fn metrics_of_api() -> Metrics {
    let (connections, requests) = (Connections::new(1), RequestMetrics::default());
    let mut metrics = Metrics::default();
    let workers = Workers::default();
    write_metrics(&connections, &requests, [&workers; 2], &mut metrics);
    metrics
}

fn write_metrics(
    connections: &Connections,
    requests: &RequestMetrics,
    [of_clients, of_resources]: [&Workers; 2],
    metrics: &mut Metrics,
) {
    connections.write(metrics);
    requests.write(connections.n_websockets(), metrics);
    let kinds = [("sql", of_clients.counts()), ("resource", of_resources.counts())];
    let queries = kinds.into_iter().flat_map(|(kind, (n_running, n_waiting))| {
        let states = [("running", n_running), ("waiting", n_waiting)];
        states.map(|(state, n)| (format!("kind=\"{kind}\",state=\"{state}\""), n as f64))
    });
    metrics.add(("fresnel_sql_queries", MetricKind::Gauge, "Queries that run or wait."), queries);
}
