//! The state and the counters of a running pipeline.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use engine::Counts;
use schemas::EstimatorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::system::{health, routers};

/// The state and the counters of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// The health: `healthy`, `degraded` or `unhealthy`.
    #[serde(rename = "status")]
    health: &'static str,
    /// The pipeline's name.
    pipeline: String,
    /// Seconds since the start of the run.
    uptime_seconds: f64,
    /// Number of people in the newest frames of all sources except ground truth.
    total_persons_tracked: usize,
    /// Number of routers that were heard in the last ten seconds.
    active_routers: usize,
    /// Frames a second of all routers together.
    current_fps: f64,
    /// Mean time from the tick of a record until a sink accepted it, in milliseconds; null if no sink accepted any.
    average_latency_ms: Option<f64>,
    /// Memory of the process, in mebibytes.
    memory_usage_mb: Option<f64>,
    /// Always null: nothing runs on a GPU.
    gpu_usage_percent: Option<f64>,
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
    let (active_routers, current_fps) = routers::activity(&app);
    let counts = shared.counters.snapshot();
    let latencies: Vec<_> = counts.values().filter_map(Counts::mean_latency).collect();
    let sum_ms = latencies.iter().map(|latency| latency.as_secs_f64() * 1e3).sum::<f64>();
    Json(Status {
        health: health::status(&app),
        pipeline: shared.plan.name.clone(),
        uptime_seconds: shared.started.elapsed().as_secs_f64(),
        total_persons_tracked: frames.iter().map(|frame| frame.persons.len()).sum(),
        active_routers,
        current_fps,
        average_latency_ms: (!latencies.is_empty()).then(|| sum_ms / latencies.len() as f64),
        memory_usage_mb: memory_mib(),
        gpu_usage_percent: None,
        components: counts.into_iter().map(|(name, counts)| (name, counts.into())).collect(),
    })
}

/// Returns the resident memory of this process, in mebibytes.
///
/// Source: proc(5), `/proc/pid/status`.
fn memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes / 1024.0)
}
