//! What the components of a running pipeline cost.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use engine::{Counts, Plan};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

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
    /// Busy time in seconds: the sum over the component's operators and threads.
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
