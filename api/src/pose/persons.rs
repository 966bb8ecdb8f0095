//! People, over all frames of a time span.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use chrono::{DateTime, Utc};
use queries::{Format, PATH_OF_PERSON, PERSONS_OF_SPAN, Query, Value};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::links::Links;
use crate::openapi::QueryProblems;
use crate::paging::{List, PageParameters};
use crate::parameters::{Parameters, Segment, Share};
use crate::pose::zones::check_zone;
use crate::sql::rows;
use crate::time::{Span, SpanParameters, timestamp};

/// The points of a path that are returned: an hour's worth.
const MAX_POINTS: u32 = 3600;

/// Time span and filters of people.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PersonsQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z; a day before its end by default.
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    end_time: Option<DateTime<Utc>>,
    /// Only people who were in this zone.
    zone_id: Option<String>,
    /// Only people with at least this mean confidence, from 0 to 1.
    #[param(value_type = Option<f32>)]
    min_confidence: Option<Share>,
    /// Maximum number of people; 100 by default, at most 1000.
    limit: Option<u32>,
    /// Number of people to skip at the start; 0 by default, at most 10000.
    skip: Option<u32>,
    /// Where to go on: the `cursor` of the `Link` header of the page before.
    cursor: Option<String>,
}

/// What to tell of a person.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PersonQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z; a day before its end by default.
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    end_time: Option<DateTime<Utc>>,
    /// True for the path of the person as well.
    #[serde(default)]
    include_history: bool,
}

/// A person, over all frames of a time span.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonSummary {
    /// The place. Ids of people are unique there.
    site: String,
    /// The id, which is stable over the life of a track.
    person_id: String,
    /// The time of the first frame; null if the device's clock counts from its start.
    first_seen: Option<DateTime<Utc>>,
    /// The time of the last frame; null if the device's clock counts from its start.
    last_seen: Option<DateTime<Utc>>,
    /// The zone of the last frame.
    current_zone: Option<String>,
    /// Mean confidence, from 0 to 1.
    average_confidence: f64,
    /// The activities, in alphabetical order.
    detected_activities: Vec<String>,
    /// Number of frames with the person.
    n_frames: u64,
    /// The path, one point a second: the newest 3600, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    movement_history: Option<Vec<PointOfPath>>,
    #[serde(rename = "_links")]
    links: Links,
}

/// Where a person was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointOfPath {
    /// The time; null if the device's clock counts from its start.
    timestamp: Option<DateTime<Utc>>,
    /// The position on the plan, in metres.
    x_m: Option<f32>,
    /// The position on the plan, in metres.
    y_m: Option<f32>,
    /// The zone.
    zone_id: Option<String>,
    /// The activity.
    activity: Option<String>,
}

/// A row of the query of people.
#[derive(Debug, Deserialize)]
struct PersonRow {
    site: String,
    person_id: String,
    first_seen_ns: i64,
    last_seen_ns: i64,
    current_zone: Option<String>,
    average_confidence: f64,
    detected_activities: Option<Vec<String>>,
    n_frames: u64,
}

/// A row of the query of a path.
#[derive(Debug, Deserialize)]
struct PointRow {
    captured_at_ns: i64,
    x_m: Option<f32>,
    y_m: Option<f32>,
    zone_id: Option<String>,
    activity: Option<String>,
}

impl PersonSummary {
    /// The links are about the same time span.
    fn new(row: PersonRow, span: SpanParameters) -> Self {
        let path = ["/api/v1/pose/persons", &row.person_id];
        let (itself, history) = (span.query(), format!("include_history=true&{}", span.query()));
        let links = Links::default().and("self", &path, &itself).and(
            "history",
            &path,
            history.trim_end_matches('&'),
        );
        Self {
            site: row.site,
            person_id: row.person_id,
            first_seen: timestamp(row.first_seen_ns),
            last_seen: timestamp(row.last_seen_ns),
            current_zone: row.current_zone,
            average_confidence: row.average_confidence,
            detected_activities: row.detected_activities.unwrap_or_default(),
            n_frames: row.n_frames,
            movement_history: None,
            links,
        }
    }
}

impl From<PointRow> for PointOfPath {
    fn from(row: PointRow) -> Self {
        let PointRow { captured_at_ns, x_m, y_m, zone_id, activity } = row;
        Self { timestamp: timestamp(captured_at_ns), x_m, y_m, zone_id, activity }
    }
}

/// Returns the people who were detected in a time span, most recent first. The `Link` header leads to the next page.
#[utoipa::path(
    get,
    path = "/api/v1/pose/persons",
    params(PersonsQuery),
    responses(
        (status = 200, description = "The people.", body = [PersonSummary]),
        QueryProblems,
    ),
)]
pub(crate) async fn persons(
    State(app): State<App>,
    client: Client,
    uri: Uri,
    Parameters(query): Parameters<PersonsQuery>,
) -> Result<List<PersonSummary>, RequestError> {
    let PersonsQuery { start_time, end_time, zone_id, min_confidence, limit, skip, cursor } = query;
    let parameters = SpanParameters { start_time, end_time };
    let span = parameters.span(&app)?;
    let page = PageParameters { limit, skip, cursor }.page()?;
    let query = statement(span, None, zone_id.clone(), min_confidence, page.after.clone());
    let rows: Vec<PersonRow> = rows(&app, page.of(query), &client).await?;
    if rows.is_empty() {
        check_zone(&app, zone_id.as_deref())?;
    }
    let last = rows.last();
    let last = last.map(|row| Cursor {
        ns: row.last_seen_ns,
        name: format!("{}/{}", row.site, row.person_id),
    });
    let next = page.next(rows.len(), last, &uri, Some(span));
    Ok(List::page(rows.into_iter().map(|row| PersonSummary::new(row, parameters)), next))
}

/// Returns a person, with the path if `include_history` is true. If several sites have a person with this id,
/// returns the person who was detected last.
#[utoipa::path(
    get,
    path = "/api/v1/pose/persons/{person_id}",
    params(("person_id" = String, Path, description = "The person."), PersonQuery),
    responses(
        (status = 200, description = "The person.", body = PersonSummary),
        QueryProblems,
    ),
)]
pub(crate) async fn person(
    State(app): State<App>,
    client: Client,
    Segment(id): Segment,
    Parameters(query): Parameters<PersonQuery>,
) -> Result<Json<PersonSummary>, RequestError> {
    let PersonQuery { start_time, end_time, include_history } = query;
    let parameters = SpanParameters { start_time, end_time };
    let span = parameters.span(&app)?;
    let query = statement(span, Some(id.clone()), None, None, None);
    let found: Vec<PersonRow> = rows(&app, query, &client).await?;
    let unknown = || RequestError::NotFound(format!("no person `{id}` was seen in this time"));
    let mut person = PersonSummary::new(found.into_iter().next().ok_or_else(unknown)?, parameters);
    if include_history {
        let path: Vec<PointRow> = rows(&app, path(span, &person.site, &id), &client).await?;
        person.movement_history = Some(path.into_iter().map(PointOfPath::from).collect());
    }
    Ok(Json(person))
}

fn statement(
    Span { start_ns, end_ns }: Span,
    person: Option<String>,
    zone: Option<String>,
    min_confidence: Option<Share>,
    after: Option<Cursor>,
) -> Query {
    let (before_ns, after) = after.map(|after| (after.ns, after.name)).unzip();
    Query::new(PERSONS_OF_SPAN, Format::Json).with_values([
        ("start_ns", start_ns.into()),
        ("end_ns", end_ns.into()),
        ("person", person.into()),
        ("zone", zone.into()),
        ("min_confidence", f64::from(min_confidence.unwrap_or_default().0).into()),
        ("before_ns", before_ns.map_or(Value::Null, Value::Integer)),
        ("after", after.into()),
    ])
}

fn path(Span { start_ns, end_ns }: Span, site: &str, person: &str) -> Query {
    let sql = format!(
        "SELECT * FROM ({PATH_OF_PERSON}) AS path ORDER BY captured_at_ns DESC LIMIT {MAX_POINTS}"
    );
    let sql = format!("SELECT * FROM ({sql}) AS newest ORDER BY captured_at_ns");
    Query::new(sql, Format::Json).with_values([
        ("start_ns", start_ns.into()),
        ("end_ns", end_ns.into()),
        ("site", Some(site.to_owned()).into()),
        ("person", Some(person.to_owned()).into()),
    ])
}
