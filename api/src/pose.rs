//! Current and earlier frames of people.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use queries::Limits;
use schemas::{EstimatorKind, PoseFrame, from_batch};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::parameters::Parameters;

const DEFAULT_CONFIDENCE: f32 = 0.5;
const DEFAULT_FRAMES: u32 = 100;
const MAX_FRAMES: u32 = 1000;
const MAX_SKIP: u32 = 10_000;

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
        (status = 200, description = "The newest frame.", body = PoseFrame),
        (status = 404, description = "There is no frame yet.", body = Problem),
    ),
)]
pub(crate) async fn current(
    State(app): State<App>,
    Parameters(query): Parameters<CurrentQuery>,
) -> Result<Json<PoseFrame>, RequestError> {
    let wanted = |frame: &PoseFrame| match &query.source {
        Some(source) => frame.source == *source,
        None => frame.estimator.kind != EstimatorKind::GroundTruth,
    };
    let frames = app.shared.hub.latest_poses().into_iter().filter(wanted);
    let newest = frames.max_by_key(|frame| frame.captured_at_ns);
    let mut frame =
        newest.ok_or(RequestError::NotFound("no frame of people has arrived yet".to_owned()))?;
    let min_confidence = query.min_confidence.unwrap_or(DEFAULT_CONFIDENCE);
    frame.persons.retain(|person| {
        let in_zone = query.zone_id.is_none() || person.zone == query.zone_id;
        in_zone && person.confidence >= min_confidence
    });
    Ok(Json(frame))
}

/// Time span and filters of earlier frames.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z.
    start_time: DateTime<Utc>,
    /// End of the time span, exclusive.
    end_time: DateTime<Utc>,
    /// Only this person, and only frames with this person. Ids contain letters, digits, `_` and `-`.
    person_id: Option<String>,
    /// Maximum number of frames; 100 by default, at most 1000.
    limit: Option<u32>,
    /// Number of frames to skip at the start; 0 by default, at most 10000.
    skip: Option<u32>,
}

/// Returns the frames of people in a time span, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/pose/history",
    params(HistoryQuery),
    responses(
        (status = 200, description = "The frames.", body = [PoseFrame]),
        (status = 400, description = "The request makes no sense.", body = Problem),
        (status = 404, description = "The pipeline keeps no history.", body = Problem),
    ),
)]
pub(crate) async fn history(
    State(app): State<App>,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Json<Vec<PoseFrame>>, RequestError> {
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let sql = history_sql(&query)?;
    let answer = history.query(&sql, Limits::default()).await?;
    let mut frames = Vec::new();
    for batch in &answer.batches {
        frames.extend(from_batch::<PoseFrame>(batch)?);
    }
    if let Some(person_id) = &query.person_id {
        for frame in &mut frames {
            frame.persons.retain(|person| person.id == *person_id);
        }
    }
    Ok(Json(frames))
}

fn history_sql(query: &HistoryQuery) -> Result<String, RequestError> {
    let bad = |detail: &str| Err(RequestError::BadRequest(detail.to_owned()));
    let limit = query.limit.unwrap_or(DEFAULT_FRAMES);
    let skip = query.skip.unwrap_or(0);
    if limit > MAX_FRAMES || skip > MAX_SKIP {
        return bad("limit may be 1000 at most, and skip 10000");
    }
    let ns = |time: DateTime<Utc>| time.timestamp_nanos_opt();
    let (Some(start_ns), Some(end_ns)) = (ns(query.start_time), ns(query.end_time)) else {
        return bad("times must lie between the years 1678 and 2262");
    };
    let person = match &query.person_id {
        // The id becomes part of the query, so it must not contain SQL syntax.
        Some(id)
            if !id
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)) =>
        {
            return bad("a person's id has letters, digits, _ and - only");
        }
        Some(id) => format!(
            " AND captured_at_ns IN (SELECT captured_at_ns FROM persons WHERE person = '{id}')"
        ),
        None => String::new(),
    };
    Ok(format!(
        "SELECT * FROM poses WHERE captured_at_ns >= {start_ns} AND captured_at_ns < {end_ns}{person} \
         ORDER BY captured_at_ns, source LIMIT {limit} OFFSET {skip}"
    ))
}
