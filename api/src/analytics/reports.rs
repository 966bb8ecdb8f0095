//! Reports: analytics that are made in the background and kept.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use chrono::{DateTime, Utc};
use engine::ItemKind;
use identity::Scope;
use queries::{ACTIVITY, EVENTS, Format, Limits, OCCUPANCY, Query, QueryError, Value};
use schemas::TimeSpan;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::analytics::interval_ns;
use crate::app::App;
use crate::client::Client;
use crate::error::{Problem, RequestError};
use crate::links::Links;
use crate::paging::List;
use crate::parameters::{JsonBody, Segment};
use crate::pose::zones::check_zone;
use crate::sql::answer_as;
use crate::time::{Span, SpanParameters, timestamp};
use crate::wall_clock::now;

const KIND: ItemKind = ItemKind::Report;
const PATH: &str = "/api/v1/analytics/reports";
const ROWS: ItemKind = ItemKind::ReportRows;
/// The most reports of a pipeline, and of one client.
const MAX_REPORTS: usize = 200;
const MAX_OF_CLIENT: usize = 50;
/// How often a report is tried, and the pause between two attempts.
const MAX_ATTEMPTS: u32 = 120;
const PAUSE: Duration = Duration::from_secs(1);
/// The right to make a report.
static TURN: Semaphore = Semaphore::const_new(1);
/// A report may take longer than a query.
const LIMITS: Limits = Limits { timeout: Duration::from_mins(5), rows: 20_000, bytes: 4 << 20 };

/// The subject of a report.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReportType {
    /// How many people were in each zone: `n_persons` different ones, and at once `max_persons` at most and
    /// `average_persons_when_occupied` while there was somebody.
    Occupancy,
    /// How long people did what in each zone.
    Activity,
    /// How many events there were of each type.
    Events,
}

/// A report that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportRequest {
    /// The subject of the report.
    #[serde(rename = "type")]
    about: ReportType,
    /// Start of the time span, inclusive; a day before its end by default.
    #[serde(default)]
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    #[serde(default)]
    end_time: Option<DateTime<Utc>>,
    /// Only this zone.
    #[serde(default)]
    zone_id: Option<String>,
    /// Length of the intervals, such as `15m`; an hour by default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    interval: Option<TimeSpan>,
}

/// How far a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReportStatus {
    /// It is being made.
    Running,
    /// It can be fetched.
    Ready,
    /// It could not be made; `error` says why.
    Failed,
}

/// A report as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    request: ReportRequest,
    span: Span,
    client: String,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    status: ReportStatus,
    error: Option<String>,
    n_rows: usize,
}

/// The rows of a report: values by column.
type Rows = Vec<BTreeMap<String, serde_json::Value>>;

/// A report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    /// The id.
    #[serde(rename = "report_id")]
    id: String,
    /// The subject of the report.
    #[serde(rename = "type")]
    about: ReportType,
    /// How far it is.
    status: ReportStatus,
    /// Why it could not be made.
    error: Option<String>,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When it was finished; null before.
    finished_at: Option<DateTime<Utc>>,
    /// Start of the time span, inclusive.
    start_time: DateTime<Utc>,
    /// End of the time span, exclusive.
    end_time: DateTime<Utc>,
    /// The only zone; null for all.
    zone_id: Option<String>,
    /// Number of rows.
    n_rows: usize,
    #[serde(rename = "_links")]
    links: Links,
}

/// A report with its rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportWithRows {
    #[serde(flatten)]
    report: Report,
    /// The rows, by interval and zone; their columns depend on the type.
    #[schema(value_type = Vec<Object>)]
    rows: Rows,
}

impl Report {
    fn new(id: String, stored: &Stored) -> Self {
        let links = Links::default().and("self", &[PATH, &id], "");
        Self {
            id,
            about: stored.request.about,
            status: stored.status,
            error: stored.error.clone(),
            created_at: stored.created_at,
            finished_at: stored.finished_at,
            start_time: DateTime::from_timestamp_nanos(stored.span.start_ns),
            end_time: DateTime::from_timestamp_nanos(stored.span.end_ns),
            zone_id: stored.request.zone_id.clone(),
            n_rows: stored.n_rows,
            links,
        }
    }
}

/// Asks for a report, which is made in the background.
///
/// The response leads to the report. Its status is `running` until it is `ready` or has `failed`.
#[utoipa::path(
    post,
    path = "/api/v1/analytics/reports",
    request_body = ReportRequest,
    responses(
        (status = 202, description = "The report is being made.", body = Report),
        (status = 400, description = "The request is invalid.", body = Problem),
        (status = 404, description = "The pipeline has no history.", body = Problem),
        (status = 409, description = "There are too many reports.", body = Problem),
    ),
)]
pub(crate) async fn make_report(
    State(app): State<App>,
    client: Client,
    JsonBody(request): JsonBody<ReportRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Report>), RequestError> {
    app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    check_zone(&app, request.zone_id.as_deref())?;
    let ReportRequest { start_time, end_time, .. } = request;
    let span = SpanParameters { start_time, end_time }.span(&app)?;
    interval_ns(request.interval)?;
    check_number(&app, &client).await?;
    let stored = Stored {
        request,
        span,
        client: client.to_string(),
        created_at: now(),
        finished_at: None,
        status: ReportStatus::Running,
        error: None,
        n_rows: 0,
    };
    let id = Uuid::new_v4().to_string();
    app.shared.items.set(KIND, &id, &encode(&stored)?).await?;
    tokio::spawn(finish(app, id.clone(), stored.clone()));
    let location = [(header::LOCATION, format!("{PATH}/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(Report::new(id, &stored))))
}

/// Returns the reports, the newest one first.
#[utoipa::path(
    get,
    path = "/api/v1/analytics/reports",
    responses((status = 200, description = "The reports.", body = [Report])),
)]
pub(crate) async fn reports(State(app): State<App>) -> Result<List<Report>, RequestError> {
    let mut reports = Vec::new();
    for (id, body) in app.shared.items.all(KIND).await? {
        reports.push(Report::new(id, &decode(&body)?));
    }
    reports.sort_by_key(|report| std::cmp::Reverse(report.created_at));
    Ok(List::all(reports))
}

/// Returns a report with its rows.
#[utoipa::path(
    get,
    path = "/api/v1/analytics/reports/{id}",
    params(("id" = String, Path, description = "The report.")),
    responses(
        (status = 200, description = "The report.", body = ReportWithRows),
        (status = 404, description = "There is no such report.", body = Problem),
    ),
)]
pub(crate) async fn report(
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<ReportWithRows>, RequestError> {
    let stored = stored(&app, &id).await?;
    let rows = app.shared.items.get(ROWS, &id).await?.unwrap_or_else(|| "[]".to_owned());
    let rows = serde_json::from_str(&rows).map_err(RequestError::Rows)?;
    Ok(Json(ReportWithRows { report: Report::new(id, &stored), rows }))
}

/// Removes a report. Whoever asked for it may do so, and whoever may change the configuration.
#[utoipa::path(
    delete,
    path = "/api/v1/analytics/reports/{id}",
    params(("id" = String, Path, description = "The report.")),
    responses(
        (status = 204, description = "The report is removed."),
        (status = 404, description = "There is no such report of this client.", body = Problem),
    ),
)]
pub(crate) async fn remove_report(
    State(app): State<App>,
    client: Client,
    Segment(id): Segment,
) -> Result<StatusCode, RequestError> {
    let stored = stored(&app, &id).await?;
    let is_own = stored.client == client.to_string();
    if !is_own && !client.principal.scopes.include_all(&[Scope::ConfigWrite]) {
        return Err(no_report(&id));
    }
    app.shared.items.remove(KIND, &id).await?;
    app.shared.items.remove(ROWS, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the reports again that an earlier run did not finish.
pub(crate) async fn resume(app: App) {
    let reports = match app.shared.items.all(KIND).await {
        Ok(reports) => reports,
        Err(error) => return tracing::warn!(%error, "could not look for unfinished reports"),
    };
    for (id, body) in reports {
        if let Ok(stored) = decode(&body)
            && stored.status == ReportStatus::Running
        {
            finish(app.clone(), id, stored).await;
        }
    }
}

/// Makes a report and keeps it, unless it has been removed. Reports are made one after the other.
async fn finish(app: App, id: String, mut stored: Stored) {
    let Ok(_turn) = TURN.acquire().await else { return };
    let rows = match patiently(|| rows(&app, &stored)).await {
        Ok(rows) => {
            (stored.n_rows, stored.status) = (rows.len(), ReportStatus::Ready);
            rows
        }
        Err(error) => {
            stored.status = ReportStatus::Failed;
            stored.error = Some(error.into_detail());
            Rows::new()
        }
    };
    stored.finished_at = Some(now());
    if let Err(error) = patiently(|| keep(&app, &id, &stored, &rows)).await {
        tracing::warn!(%error, id, "could not keep a report: the next run makes it again");
    }
}

/// Tries again while queries of others have all places, or the store does not answer.
async fn patiently<T, F: Future<Output = Result<T, RequestError>>>(
    attempt: impl Fn() -> F,
) -> Result<T, RequestError> {
    let mut n_attempts = 1;
    loop {
        match attempt().await {
            Err(RequestError::Query(QueryError::Busy) | RequestError::Store(_))
                if n_attempts < MAX_ATTEMPTS =>
            {
                n_attempts += 1;
                // Neither reports when it is free again.
                sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn keep(app: &App, id: &str, stored: &Stored, rows: &Rows) -> Result<(), RequestError> {
    let rows = serde_json::to_string(rows).map_err(RequestError::Rows)?;
    app.shared.items.set(ROWS, id, &rows).await?;
    if !app.shared.items.replace(KIND, id, &encode(stored)?).await? {
        app.shared.items.remove(ROWS, id).await?;
    }
    Ok(())
}

/// # Errors
///
/// [`RequestError::TooManyItems`] if there are too many reports, in all or of a client.
async fn check_number(app: &App, client: &Client) -> Result<(), RequestError> {
    let (reports, client) = (app.shared.items.all(KIND).await?, client.to_string());
    let of_client =
        reports.values().filter(|body| decode(body).is_ok_and(|it| it.client == client));
    for (n_reports, limit) in [(of_client.count(), MAX_OF_CLIENT), (reports.len(), MAX_REPORTS)] {
        if n_reports >= limit {
            return Err(RequestError::TooManyItems(limit));
        }
    }
    Ok(())
}

async fn rows(app: &App, stored: &Stored) -> Result<Rows, RequestError> {
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let sql = match stored.request.about {
        ReportType::Occupancy => OCCUPANCY,
        ReportType::Activity => ACTIVITY,
        ReportType::Events => EVENTS,
    };
    let mut values = vec![
        ("start_ns", stored.span.start_ns.into()),
        ("end_ns", stored.span.end_ns.into()),
        ("interval_ns", interval_ns(stored.request.interval)?.into()),
        ("zone", stored.request.zone_id.clone().into()),
    ];
    // Of the three, only activities are selected by person.
    values.extend((sql == ACTIVITY).then_some(("person", Value::Null)));
    let query = Query { limits: LIMITS, ..Query::new(sql, Format::Json).with_values(values) };
    let rows = answer_as(app, history, query, &stored.client).await?.into_bytes().await?;
    let rows: Rows = serde_json::from_slice(&rows).map_err(RequestError::Rows)?;
    Ok(rows.into_iter().map(with_time).collect())
}

/// Replaces the nanoseconds at which an interval starts by a timestamp.
fn with_time(mut row: BTreeMap<String, serde_json::Value>) -> BTreeMap<String, serde_json::Value> {
    let starts_at = row.remove("interval_starts_at_ns").and_then(|ns| ns.as_i64());
    let starts_at = starts_at.and_then(timestamp).map(|time| time.to_rfc3339());
    row.insert("interval_starts_at".to_owned(), starts_at.into());
    row
}

async fn stored(app: &App, id: &str) -> Result<Stored, RequestError> {
    decode(&app.shared.items.get(KIND, id).await?.ok_or_else(|| no_report(id))?)
}

fn no_report(id: &str) -> RequestError {
    RequestError::NotFound(format!("no report `{id}`: {PATH} lists all of them"))
}

fn encode(stored: &Stored) -> Result<String, RequestError> {
    serde_json::to_string(stored).map_err(RequestError::Rows)
}

fn decode(body: &str) -> Result<Stored, RequestError> {
    serde_json::from_str(body).map_err(RequestError::Rows)
}
