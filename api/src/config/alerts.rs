//! Rules of alerts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::ItemKind;
use schemas::TimeSpan;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::items;
use crate::error::{Problem, RequestError};
use crate::paging::List;
use crate::parameters::{JsonBody, Segment};

const KIND: ItemKind = ItemKind::Alert;
const MAX_NAME_BYTES: usize = 200;

/// A rule: when somebody is to be alerted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertRule {
    /// When the rule applies.
    when: Condition,
    /// How much it matters.
    #[serde(default)]
    severity: Severity,
    /// False to ignore the rule; true by default.
    #[serde(default = "yes")]
    enabled: bool,
}

/// When a rule applies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Condition {
    /// More people are in a zone than allowed, for some time.
    HighOccupancy {
        /// The zone.
        zone_id: String,
        /// The most people that are allowed.
        max_occupancy: u32,
        /// How long there must be more, such as `5m`; by default no time.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        duration: Option<TimeSpan>,
    },
    /// Somebody is in a zone where nobody may be.
    RestrictedZone {
        /// The zone.
        zone_id: String,
    },
    /// Somebody has fallen.
    Fall {
        /// Only in this zone; absent for all.
        #[serde(default)]
        zone_id: Option<String>,
    },
    /// A device was not heard for some time.
    DeviceLost {
        /// Only this device; absent for all.
        #[serde(default)]
        router_id: Option<String>,
        /// The time, such as `30s`.
        #[schema(value_type = String)]
        after: TimeSpan,
    },
    /// Records take longer from their capture to their commit than allowed.
    PerformanceDegraded {
        /// The longest time that is allowed, such as `1s`.
        #[schema(value_type = String)]
        max_latency: TimeSpan,
    },
    /// A column of a stream of rows is above or below a bound.
    Threshold {
        /// The stream.
        stream: String,
        /// The column.
        column: String,
        /// The largest value that is allowed; absent for any.
        #[serde(default)]
        max: Option<f64>,
        /// The smallest value that is allowed; absent for any.
        #[serde(default)]
        min: Option<f64>,
    },
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// For the record.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Worth a look now.
    High,
    /// Somebody may be in danger.
    Critical,
}

/// A rule with its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredAlert {
    /// The name.
    name: String,
    /// When the rule applies.
    when: Condition,
    /// How much it matters.
    severity: Severity,
    /// False if the rule is ignored.
    enabled: bool,
}

impl StoredAlert {
    fn new(name: String, AlertRule { when, severity, enabled }: AlertRule) -> Self {
        Self { name, when, severity, enabled }
    }
}

fn yes() -> bool {
    true
}

/// Returns the rules, by name.
#[utoipa::path(
    get,
    path = "/api/v1/config/alerts",
    responses((status = 200, description = "The rules.", body = [StoredAlert])),
)]
pub(crate) async fn alerts(State(app): State<App>) -> Result<List<StoredAlert>, RequestError> {
    let rules = items::all(&app, KIND).await?.into_iter();
    Ok(List::all(rules.map(|(name, rule)| StoredAlert::new(name, rule))))
}

/// Returns a rule.
#[utoipa::path(
    get,
    path = "/api/v1/config/alerts/{name}",
    params(("name" = String, Path, description = "The rule.")),
    responses(
        (status = 200, description = "The rule.", body = StoredAlert),
        (status = 404, description = "There is no such rule.", body = Problem),
    ),
)]
pub(crate) async fn alert(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<StoredAlert>, RequestError> {
    let rule = items::get(&app, KIND, &name).await?;
    Ok(Json(StoredAlert::new(name, rule)))
}

/// Adds or replaces a rule. Rules are kept; this version evaluates none yet.
#[utoipa::path(
    put,
    path = "/api/v1/config/alerts/{name}",
    params(("name" = String, Path, description = "The rule.")),
    request_body = AlertRule,
    responses(
        (status = 200, description = "The stored rule.", body = StoredAlert),
        (status = 400, description = "The rule is invalid.", body = Problem),
        (status = 409, description = "There are too many rules.", body = Problem),
    ),
)]
pub(crate) async fn set_alert(
    State(app): State<App>,
    Segment(name): Segment,
    JsonBody(rule): JsonBody<AlertRule>,
) -> Result<Json<StoredAlert>, RequestError> {
    if let Some(mistake) = rule.when.mistake() {
        return Err(items::refuse(mistake));
    }
    items::set(&app, KIND, &name, &rule).await?;
    Ok(Json(StoredAlert::new(name, rule)))
}

/// Removes a rule.
#[utoipa::path(
    delete,
    path = "/api/v1/config/alerts/{name}",
    params(("name" = String, Path, description = "The rule.")),
    responses(
        (status = 204, description = "The rule is removed."),
        (status = 404, description = "There is no such rule.", body = Problem),
    ),
)]
pub(crate) async fn remove_alert(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<StatusCode, RequestError> {
    items::remove(&app, KIND, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Condition {
    /// Returns the error in the condition; none if it is valid.
    fn mistake(&self) -> Option<&'static str> {
        let is_named = |name: &str| !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES;
        let name = match self {
            Self::HighOccupancy { zone_id, .. } | Self::RestrictedZone { zone_id } => Some(zone_id),
            Self::Fall { zone_id } => zone_id.as_ref(),
            Self::DeviceLost { router_id, .. } => router_id.as_ref(),
            Self::Threshold { stream, .. } => Some(stream),
            Self::PerformanceDegraded { .. } => None,
        };
        if name.is_some_and(|name| !is_named(name)) {
            return Some("a name in `when` must have 1 to 200 bytes");
        }
        match self {
            Self::DeviceLost { after: time, .. }
            | Self::PerformanceDegraded { max_latency: time }
                if *time == TimeSpan::ZERO =>
            {
                Some("a time in `when` must be longer than nothing")
            }
            Self::Threshold { column, .. } if !is_named(column) => {
                Some("`column` must have 1 to 200 bytes")
            }
            Self::Threshold { max: None, min: None, .. } => {
                Some("a `threshold` needs `max` or `min`")
            }
            Self::Threshold { max: Some(max), min: Some(min), .. } if min > max => {
                Some("`min` is above `max`")
            }
            _ => None,
        }
    }
}
