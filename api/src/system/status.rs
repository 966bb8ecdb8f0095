//! The state and the counters of a running pipeline.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use engine::Counts;
use schemas::EstimatorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

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
