//! The newest frame.

use axum::Json;
use axum::extract::State;
use schemas::{EstimatorKind, PoseFrame};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::parameters::Parameters;
use crate::pose::frame::PeopleFrame;

const DEFAULT_CONFIDENCE: f32 = 0.5;

/// Filters of the newest frame.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CurrentQuery {
    /// Only people in this zone.
    zone_id: Option<String>,
    /// Only people with at least this confidence, from 0 to 1; 0.5 by default.
    min_confidence: Option<f32>,
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
    let newest =
        newest.ok_or(RequestError::NotFound("no frame of people has arrived yet".to_owned()))?;
    let mut frame = PeopleFrame::from(newest);
    let min_confidence = query.min_confidence.unwrap_or(DEFAULT_CONFIDENCE);
    frame.persons.retain(|person| {
        let in_zone = query.zone_id.is_none() || person.zone_id == query.zone_id;
        in_zone && person.confidence >= min_confidence
    });
    Ok(Json(frame))
}
