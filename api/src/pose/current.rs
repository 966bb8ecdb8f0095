//! The newest frame.

use axum::Json;
use axum::extract::State;
use schemas::{EstimatorKind, PoseFrame};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::parameters::{Parameters, Share};
use crate::pose::frame::PeopleFrame;
use crate::pose::zones::check_zone;

const DEFAULT_CONFIDENCE: Share = Share(0.5);

/// Filters of the newest frame.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CurrentQuery {
    /// Only people in this zone.
    zone_id: Option<String>,
    /// Only people with at least this confidence, from 0 to 1; 0.5 by default.
    #[param(value_type = Option<f32>)]
    min_confidence: Option<Share>,
    /// Only frames of this source. By default, frames of all sources except ground truth.
    source: Option<String>,
}

/// Returns the newest frame of people.
#[utoipa::path(
    get,
    path = "/api/v1/pose/current",
    params(CurrentQuery),
    responses(
        (status = 200, description = "The newest frame.", body = PeopleFrame),
        (status = 404, description = "There is no frame yet.", body = Problem),
    ),
)]
pub(crate) async fn current(
    State(app): State<App>,
    Parameters(query): Parameters<CurrentQuery>,
) -> Result<Json<PeopleFrame>, RequestError> {
    let wanted = |frame: &PoseFrame| match &query.source {
        Some(source) => frame.source == *source,
        None => frame.estimator.kind != EstimatorKind::GroundTruth,
    };
    let frames = app.shared.hub.latest_poses().into_iter().filter(wanted);
    let newest = frames.max_by_key(|frame| frame.captured_at_ns);
    let newest = newest.ok_or_else(|| none_of(&app, query.source.as_deref()))?;
    let mut frame = PeopleFrame::from(newest);
    let min_confidence = query.min_confidence.unwrap_or(DEFAULT_CONFIDENCE).0;
    frame.persons.retain(|person| {
        let in_zone = query.zone_id.is_none() || person.zone_id == query.zone_id;
        in_zone && person.confidence >= min_confidence
    });
    if frame.persons.is_empty() {
        check_zone(&app, query.zone_id.as_deref())?;
    }
    Ok(Json(frame))
}

/// Returns the error for a source without a frame.
fn none_of(app: &App, source: Option<&str>) -> RequestError {
    let frames = app.shared.hub.latest_poses();
    let sources: Vec<_> = frames.iter().map(|frame| frame.source.as_str()).collect();
    RequestError::NotFound(match source {
        Some(source) if !sources.is_empty() => {
            format!(
                "no frame of `{source}` has arrived; there are frames of: {}",
                sources.join(", ")
            )
        }
        _ => "no frame of people has arrived yet".to_owned(),
    })
}
