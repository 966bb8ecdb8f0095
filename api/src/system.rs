//! Is it well, and what does it do?

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use engine::{Counts, Metrics, Plan, Retry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::wall_clock::now;

/// Whether the pipeline is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`; `degraded` while a component tries something again that failed; `unhealthy` when a
    /// failure ends the pipeline.
    status: &'static str,
    /// The failure that ends the pipeline, with its causes.
    error: Option<String>,
    /// The server's time.
    timestamp: DateTime<Utc>,
    /// Each component of the pipeline; and `checkpoints`, `configuration` and `lease` while the store
    /// fails.
    components: BTreeMap<String, ComponentHealth>,
}

/// Whether a component is well.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentHealth {
    /// `running`; `retrying` what failed, or waiting for the end of an `outage`; `ended`.
    state: &'static str,
    /// When it failed first, if it has not succeeded since.
    since: Option<DateTime<Utc>>,
    /// Number of failures since then.
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

/// The settings of the component.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// Always `running`.
    #[serde(rename = "status")]
    state: &'static str,
    /// The pipeline's name.
    pipeline: String,
    /// Seconds since the start.
    uptime_seconds: f64,
    /// People in the newest frame of each source.
    total_persons_tracked: usize,
    /// The counters of each component.
    components: BTreeMap<String, ComponentStatus>,
}

/// The counters of a component.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentStatus {
    /// Records that a source gave or a sink took.
    records: u64,
    /// Records that came later than their tick.
    late: u64,
    /// Records that could not be used, by reason.
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
    let frames = shared.hub.latest_poses();
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
    /// Seconds since the start.
    uptime_seconds: f64,
    /// The component that everything else waits for: the one that is furthest behind.
    held_by: Option<String>,
    /// The components, by name.
    components: BTreeMap<String, Load>,
}

/// The cost and the progress of a component.
#[derive(Debug, Serialize, ToSchema)]
struct Load {
    /// Records that a source gave or a sink took.
    records: u64,
    /// Records that it sent on to other components.
    sent: u64,
    /// About how many bytes they have.
    sent_bytes: u64,
    /// Seconds that its operators worked, on all workers together.
    busy_seconds: f64,
    /// The tick that a source or an operator has come to, or up to which all is done with in a sink, in
    /// milliseconds since the Unix epoch.
    clock_ms: Option<u64>,
    /// Seconds of event time that it is behind the source that is furthest.
    lag_seconds: Option<f64>,
    /// Polls of a source or ticks of a sink that wait.
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

/// The first component on the records' way that is furthest behind.
fn held_by(plan: &Plan, counts: &BTreeMap<String, Counts>) -> Option<String> {
    let components = plan.components().into_iter();
    let clocks = components.filter_map(|(name, _)| Some((name, counts.get(name)?.clock()?)));
    clocks.min_by_key(|(_, clock)| *clock).map(|(name, _)| name.to_owned())
}

/// Counters in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The counters.", body = String)),
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut metrics = Metrics::default();
    app.shared.counters.write(&mut metrics);
    app.server.connections.write(&mut metrics);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.to_string())
}
