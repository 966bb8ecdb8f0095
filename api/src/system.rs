//! Is it well, and what does it do?

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use engine::Counts;
use serde::Serialize;
use utoipa::ToSchema;

use crate::router::App;

/// That it is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `healthy`: a pipeline that is not, ends.
    status: &'static str,
    /// The server's time.
    timestamp: DateTime<Utc>,
    /// Each component of the pipeline.
    components: BTreeMap<String, &'static str>,
}

/// Says that the pipeline runs.
#[utoipa::path(
    get,
    path = "/api/v1/system/health",
    responses((status = 200, description = "The pipeline runs.", body = Health)),
)]
pub(crate) async fn health(State(app): State<App>) -> Json<Health> {
    let plan = &app.shared.plan;
    let sources = plan.sources.iter().map(|source| &source.name);
    let operators = plan.operators.iter().map(|operator| &operator.name);
    let sinks = plan.sinks.iter().map(|sink| &sink.name);
    let names = sources.chain(operators).chain(sinks);
    let components = names.map(|name| (name.clone(), "running")).collect();
    Json(Health { status: "healthy", timestamp: now(), components })
}

/// What it does.
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
    /// What each component has counted.
    components: BTreeMap<String, ComponentStatus>,
}

/// What a component has counted.
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

/// Says what the pipeline has done so far.
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

/// Counters in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The counters.", body = String)),
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let text = app.shared.counters.prometheus();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The wall clock, for people to read.
#[expect(clippy::disallowed_methods, reason = "a server tells its time")]
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}
