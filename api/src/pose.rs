//! People now and before.

use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use queries::Limits;
use schemas::{EstimatorKind, PoseFrame, from_batch};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::error::{Problem, RequestError};

const DEFAULT_CONFIDENCE: f32 = 0.5;
const DEFAULT_FRAMES: u32 = 100;
const MAX_FRAMES: u32 = 1000;
const MAX_SKIP: u32 = 10_000;

/// Which people to give.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CurrentQuery {
    /// Only people in this zone.
    zone_id: Option<String>,
    /// Only people with at least this confidence; 0.5 by default.
    min_confidence: Option<f32>,
    /// Only frames of this source; without it, the newest frame that is no ground truth.
    source: Option<String>,
}

/// The newest frame of people.
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
    Query(query): Query<CurrentQuery>,
) -> Result<Json<PoseFrame>, RequestError> {
    let wanted = |frame: &PoseFrame| match &query.source {
        Some(source) => frame.source == *source,
        None => frame.estimator.kind != EstimatorKind::GroundTruth,
    };
    let frames = app.shared.hub.latest_poses().into_iter().filter(wanted);
    let newest = frames.max_by_key(|frame| frame.captured_at_ns);
    let mut frame = newest.ok_or(RequestError::NotFound("there is no frame of people yet"))?;
    let min_confidence = query.min_confidence.unwrap_or(DEFAULT_CONFIDENCE);
    frame.persons.retain(|person| {
        let in_zone = query.zone_id.is_none() || person.zone == query.zone_id;
        in_zone && person.confidence >= min_confidence
    });
    Ok(Json(frame))
}

/// Which frames to give.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// First moment, inclusive, such as 2026-01-01T00:00:00Z.
    start_time: DateTime<Utc>,
    /// Last moment, exclusive.
    end_time: DateTime<Utc>,
    /// Only this person, and only frames that show them.
    person_id: Option<String>,
    /// Most frames; 100 by default, at most 1000.
    limit: Option<u32>,
    /// Frames to leave out first; at most 10000.
    skip: Option<u32>,
}

/// Frames of people in a span of time, oldest first.
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
    Query(query): Query<HistoryQuery>,
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
        // The id becomes part of the query, so it must not hold any of its syntax.
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
