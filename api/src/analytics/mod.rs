//! What happened over a time span: heat maps, activities, whole tables, and reports.

pub(crate) mod reports;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use queries::{ACTIVITY, Format, HEAT_MAP, Limits, Query};
use schemas::{RecordKind, TimeSpan};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accept;
use crate::app::App;
use crate::client::Client;
use crate::error::{Problem, RequestError};
use crate::openapi::QueryProblems;
use crate::paging::List;
use crate::parameters::Parameters;
use crate::pose::zones::check_zone;
use crate::sql::{answer, body, rows};
use crate::time::{Span, SpanParameters, timestamp};

/// The side of a cell of a heat map, in metres.
const CELL_M: f64 = 0.25;
const CELLS_M: std::ops::RangeInclusive<f64> = 0.05..=100.0;
const INTERVAL: TimeSpan = TimeSpan::from_s(3600);
/// An export may take longer than a query, and has more rows.
const EXPORT: Limits =
    Limits { timeout: Duration::from_mins(10), rows: usize::MAX, bytes: 4 << 30 };

/// Time span and cells of a heat map.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HeatMapQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z; a day before its end by default.
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    end_time: Option<DateTime<Utc>>,
    /// Only people in this zone.
    zone_id: Option<String>,
    /// Side of a cell in metres, from 0.05 to 100; 0.25 by default.
    cell_m: Option<f64>,
}

/// How often people were in each part of a site.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeatMap {
    /// The site.
    site: String,
    /// Side of a cell in metres.
    cell_m: f64,
    /// The cells with people, by row and column.
    cells: Vec<Cell>,
}

/// A cell of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cell {
    /// Left edge on the plan, in metres.
    x_m: f64,
    /// Top edge on the plan, in metres.
    y_m: f64,
    /// Number of times that a frame has a person here.
    n_frames: u64,
    /// Number of different people.
    n_persons: u64,
    /// Share of the cell with the most frames, from 0 to 1.
    intensity: f64,
}

#[derive(Debug, Deserialize)]
struct CellRow {
    site: String,
    column: i64,
    row: i64,
    n_frames: u64,
    n_persons: u64,
}

/// Returns how often people were in each cell of the plan, for each site.
#[utoipa::path(
    get,
    path = "/api/v1/analytics/heatmaps",
    params(HeatMapQuery),
    responses(
        (status = 200, description = "The heat maps.", body = [HeatMap]),
        QueryProblems,
    ),
)]
pub(crate) async fn heat_maps(
    State(app): State<App>,
    client: Client,
    Parameters(query): Parameters<HeatMapQuery>,
) -> Result<List<HeatMap>, RequestError> {
    let HeatMapQuery { start_time, end_time, zone_id, cell_m } = query;
    let Span { start_ns, end_ns } = SpanParameters { start_time, end_time }.span(&app)?;
    let cell_m = cell_m.unwrap_or(CELL_M);
    if !CELLS_M.contains(&cell_m) {
        return Err(RequestError::BadRequest("`cell_m` must be from 0.05 to 100".to_owned()));
    }
    let query = Query::new(HEAT_MAP, Format::Json).with_values([
        ("start_ns", start_ns.into()),
        ("end_ns", end_ns.into()),
        ("zone", zone_id.clone().into()),
        ("cell_m", cell_m.into()),
    ]);
    let rows: Vec<CellRow> = rows(&app, query, &client).await?;
    if rows.is_empty() {
        check_zone(&app, zone_id.as_deref())?;
    }
    Ok(List::all(heat_maps_of(rows, cell_m)))
}

fn heat_maps_of(rows: Vec<CellRow>, cell_m: f64) -> Vec<HeatMap> {
    let mut sites: BTreeMap<String, Vec<CellRow>> = BTreeMap::new();
    for row in rows {
        sites.entry(row.site.clone()).or_default().push(row);
    }
    let maps = sites.into_iter().map(|(site, rows)| {
        let most = rows.iter().map(|row| row.n_frames).max().unwrap_or(1) as f64;
        let cells = rows.into_iter().map(|row| Cell {
            x_m: row.column as f64 * cell_m,
            y_m: row.row as f64 * cell_m,
            n_frames: row.n_frames,
            n_persons: row.n_persons,
            intensity: row.n_frames as f64 / most,
        });
        HeatMap { site, cell_m, cells: cells.collect() }
    });
    maps.collect()
}

/// Time span and filters of activities.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActivityQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z; a day before its end by default.
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    end_time: Option<DateTime<Utc>>,
    /// Only this person.
    person_id: Option<String>,
    /// Only this zone.
    zone_id: Option<String>,
    /// Length of an interval, such as `5m`; `1h` by default.
    #[param(value_type = Option<String>)]
    interval: Option<TimeSpan>,
}

/// How long people did something in a zone, in an interval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityInterval {
    /// Start of the interval; null if the device's clock counts from its start.
    timestamp: Option<DateTime<Utc>>,
    /// The zone; null outside of all zones.
    zone_id: Option<String>,
    /// The activity.
    activity: String,
    /// Number of different people.
    n_persons: u64,
    /// Sum of the people's times, in seconds.
    seconds: f64,
    /// Mean confidence, from 0 to 1.
    average_confidence: f64,
}

#[derive(Debug, Deserialize)]
struct ActivityRow {
    interval_starts_at_ns: i64,
    zone_id: Option<String>,
    activity: String,
    n_persons: u64,
    seconds: f64,
    average_confidence: f64,
}

impl From<ActivityRow> for ActivityInterval {
    fn from(row: ActivityRow) -> Self {
        let ActivityRow { zone_id, activity, n_persons, seconds, average_confidence, .. } = row;
        let timestamp = timestamp(row.interval_starts_at_ns);
        Self { timestamp, zone_id, activity, n_persons, seconds, average_confidence }
    }
}

/// Returns how long people did what, by interval and zone. A window of activity counts in the interval in
/// which it starts.
#[utoipa::path(
    get,
    path = "/api/v1/analytics/activity",
    params(ActivityQuery),
    responses(
        (status = 200, description = "The intervals.", body = [ActivityInterval]),
        QueryProblems,
    ),
)]
pub(crate) async fn activity(
    State(app): State<App>,
    client: Client,
    Parameters(query): Parameters<ActivityQuery>,
) -> Result<List<ActivityInterval>, RequestError> {
    let ActivityQuery { start_time, end_time, person_id, zone_id, interval } = query;
    let Span { start_ns, end_ns } = SpanParameters { start_time, end_time }.span(&app)?;
    let interval_ns = interval_ns(interval)?;
    let query = Query::new(ACTIVITY, Format::Json).with_values([
        ("start_ns", start_ns.into()),
        ("end_ns", end_ns.into()),
        ("interval_ns", interval_ns.into()),
        ("person", person_id.into()),
        ("zone", zone_id.clone().into()),
    ]);
    let rows: Vec<ActivityRow> = rows(&app, query, &client).await?;
    if rows.is_empty() {
        check_zone(&app, zone_id.as_deref())?;
    }
    Ok(List::all(rows.into_iter().map(ActivityInterval::from)))
}

/// Returns the length of intervals in nanoseconds; by default an hour.
///
/// # Errors
///
/// [`RequestError::BadRequest`] if it is nothing.
fn interval_ns(interval: Option<TimeSpan>) -> Result<i64, RequestError> {
    let interval = Duration::from(interval.unwrap_or(INTERVAL)).as_nanos();
    let interval_ns = i64::try_from(interval).ok().filter(|interval| *interval > 0);
    interval_ns.ok_or_else(|| {
        RequestError::BadRequest("`interval` must be longer than nothing".to_owned())
    })
}

/// Which rows to export, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// `poses`, `persons`, `presence`, `occupancy`, `activities` or `events`.
    table: String,
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z; a day before its end by default.
    start_time: Option<DateTime<Utc>>,
    /// End of the time span, exclusive; by default now, and for recordings the end of their newest frame.
    end_time: Option<DateTime<Utc>>,
    /// `json`, `json_lines`, `csv`, `arrow`, `arrow_stream` or `parquet`; by default the media type of the
    /// `Accept` header, or `json`.
    #[param(value_type = Option<String>)]
    format: Option<Format>,
}

/// Returns the rows of a table in a time span, as a file.
#[utoipa::path(
    get,
    path = "/api/v1/analytics/export",
    params(ExportQuery),
    responses(
        (status = 200, description = "The file."),
        (status = 406, description = "The format cannot represent the table.", body = Problem),
        QueryProblems,
    ),
)]
pub(crate) async fn export(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Parameters(query): Parameters<ExportQuery>,
) -> Result<Response, RequestError> {
    let ExportQuery { table, start_time, end_time, format } = query;
    let Span { start_ns, end_ns } = SpanParameters { start_time, end_time }.span(&app)?;
    let format = format.map_or_else(|| accept::format(&headers), Ok)?;
    let time = time_column(&table).ok_or_else(|| {
        let tables = "poses, persons, presence, occupancy, activities, events";
        RequestError::NotFound(format!("no table `{table}` to export, expected one of {tables}"))
    })?;
    let sql =
        format!("SELECT * FROM {table} WHERE {time} >= $start AND {time} < $end ORDER BY {time}");
    let query =
        Query::new(sql, format).with_values([("start", start_ns.into()), ("end", end_ns.into())]);
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let file = answer(&app, history, Query { limits: EXPORT, ..query }, &client).await?;
    let mut response = body(file, format.media_type()).await;
    let name = format!("attachment; filename=\"{table}.{}\"", format.extension());
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Returns the column of a row's time.
fn time_column(table: &str) -> Option<&'static str> {
    if table == queries::PERSONS {
        return Some("captured_at_ns");
    }
    match RecordKind::ALL.into_iter().find(|kind| kind.table() == table)? {
        RecordKind::Pose | RecordKind::Presence => Some("captured_at_ns"),
        RecordKind::Occupancy => Some("since_ns"),
        RecordKind::Activity => Some("starts_at_ns"),
        RecordKind::Event => Some("occurred_at_ns"),
        RecordKind::Csi | RecordKind::Rows | RecordKind::Video => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intensity_is_a_share_of_the_most() {
        let row = |site: &str, column, n_frames| CellRow {
            site: site.to_owned(),
            column,
            row: -1,
            n_frames,
            n_persons: 1,
        };
        let maps = heat_maps_of(vec![row("a", 0, 2), row("a", 3, 8), row("b", 1, 1)], 0.5);
        let cells: Vec<Vec<_>> = maps
            .iter()
            .map(|map| map.cells.iter().map(|cell| (cell.x_m, cell.y_m, cell.intensity)).collect())
            .collect();
        assert_eq!(cells, [vec![(0.0, -0.5, 0.25), (1.5, -0.5, 1.0)], vec![(0.5, -0.5, 1.0)]]);
    }
}
