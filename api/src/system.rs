//! Is it well, and what does it do?

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use engine::{Counts, Plan};
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

/// What each component costs, and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Performance {
    /// Seconds since the start.
    uptime_seconds: f64,
    /// The component that everything else waits for: the one that is furthest behind.
    held_by: Option<String>,
    /// The components, by name.
    components: BTreeMap<String, Load>,
}

/// What a component costs, and how far it has come.
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

/// Says what each component costs, and how far it has come.
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
    let text = app.shared.counters.prometheus() + &app.connections.prometheus();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The wall clock, for people to read.
#[expect(clippy::disallowed_methods, reason = "a server tells its time")]
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}
