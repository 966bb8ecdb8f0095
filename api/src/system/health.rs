//! The health of a running pipeline.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use engine::Retry;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::system::progress::Trouble;
use crate::wall_clock::now;

const UNHEALTHY: &str = "unhealthy";

/// The health of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`; `degraded` while a component retries after a failure or drops all records; `unhealthy` when a
    /// failure ends the pipeline, or when a component is stuck.
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
    /// `running`; `retrying` after a failure; `outage` while an external system is unreachable; `dropping` if it
    /// used no record in the last ten seconds and dropped some; `stuck` if records have waited for a minute
    /// without progress; `ended`.
    state: &'static str,
    /// Time of the first failure since the last success, or of the last progress.
    since: Option<DateTime<Utc>>,
    /// Number of failures since the last success.
    failures: u64,
    /// The latest failure and its causes, or the reason of the trouble.
    error: Option<String>,
}

impl ComponentHealth {
    fn new(name: &str, app: &App) -> Self {
        match app.progress.trouble(name) {
            _ if app.shared.health.has_ended(name) => Self::in_state("ended"),
            Some(trouble) => trouble.into(),
            None => Self::in_state("running"),
        }
    }

    fn in_state(state: &'static str) -> Self {
        Self { state, since: None, failures: 0, error: None }
    }
}

impl From<Trouble> for ComponentHealth {
    fn from(trouble: Trouble) -> Self {
        let (state, reason, since) = match trouble {
            Trouble::Stuck { since } => {
                ("stuck", "records wait without progress".to_owned(), since)
            }
            Trouble::Dropping { reason, n_dropped, since } => {
                ("dropping", format!("{n_dropped} records were dropped: {reason}"), since)
            }
        };
        Self { since: Some(since), error: Some(reason), ..Self::in_state(state) }
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
        (status = 503, description = "A failure ends it, or a component is stuck.", body = Health),
    ),
)]
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let health = Health::of(&app);
    let is_unhealthy = health.status == UNHEALTHY;
    let code = if is_unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health))
}

impl Health {
    fn of(app: &App) -> Self {
        let names = app.shared.plan.components().into_iter().map(|(name, _)| name.to_owned());
        let components = names.map(|name| {
            let component = ComponentHealth::new(&name, app);
            (name, component)
        });
        let mut components: BTreeMap<_, _> = components.collect();
        // What retries makes no progress, and says why.
        let retries = app.shared.health.retries().into_iter();
        components.extend(retries.map(|(name, retry)| (name, retry.into())));
        let error = app.shared.health.failure();
        let is_any = |states: &[&str]| components.values().any(|it| states.contains(&it.state));
        let status = if error.is_some() || is_any(&["stuck"]) {
            UNHEALTHY
        } else if is_any(&["retrying", "outage", "dropping"]) {
            "degraded"
        } else {
            "healthy"
        };
        Self { status, error, timestamp: now(), components }
    }
}

/// Returns the status of the pipeline's health.
pub(super) fn status(app: &App) -> &'static str {
    Health::of(app).status
}

/// Reports that the server responds to requests (liveness).
#[utoipa::path(
    get,
    path = "/health/live",
    responses((status = 204, description = "The server responds.")),
)]
pub(crate) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Reports whether the pipeline is running (readiness). After a stop request or a failure it is not ready.
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
