//! Earlier frames.

use axum::extract::State;
use axum::http::Uri;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use queries::{Format, Query, Value};
use schemas::{PoseFrame, from_batch};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::openapi::QueryProblems;
use crate::paging::{List, Page, PageParameters};
use crate::parameters::{Parameters, Share};
use crate::pose::frame::PeopleFrame;
use crate::pose::zones::check_zone;
use crate::sql;
use crate::time::ns;

/// The order of the frames of one time, as [`PeopleFrame::key`].
const KEY: &str = "concat(site, '/', source, '/', lpad(CAST(frame_id AS VARCHAR), 20, '0'))";

/// Time span and filters of earlier frames.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Start of the time span, inclusive, such as 2026-01-01T00:00:00Z.
    start_time: DateTime<Utc>,
    /// End of the time span, exclusive.
    end_time: DateTime<Utc>,
    /// Only this person, and only frames with this person.
    person_id: Option<String>,
    /// Only people in this zone, and only frames with such people.
    zone_id: Option<String>,
    /// Only people with at least this confidence, from 0 to 1, and only frames with such people.
    #[param(value_type = Option<f32>)]
    min_confidence: Option<Share>,
    /// Maximum number of frames; 100 by default, at most 1000.
    limit: Option<u32>,
    /// Number of frames to skip at the start; 0 by default, at most 10000.
    skip: Option<u32>,
    /// Where to go on: the `cursor` of the `Link` header of the page before.
    cursor: Option<String>,
}

/// Returns the frames of people in a time span, oldest first. The `Link` header leads to the next page.
#[utoipa::path(
    get,
    path = "/api/v1/pose/history",
    params(HistoryQuery),
    responses(
        (status = 200, description = "The frames.", body = [PeopleFrame]),
        QueryProblems,
    ),
)]
pub(crate) async fn history(
    State(app): State<App>,
    client: Client,
    uri: Uri,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<List<PeopleFrame>, RequestError> {
    let history = app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
    let page =
        PageParameters { limit: query.limit, skip: query.skip, cursor: query.cursor.clone() };
    let page = page.page()?;
    let sql = page.of(statement(&query, &page)?);
    let answer = sql::answer(&app, history, sql, &client).await?;
    let mut frames: Vec<PeopleFrame> = Vec::new();
    let (_, mut batches) = answer.into_batches().await?;
    while let Some(batch) = batches.try_next().await? {
        frames.extend(from_batch::<PoseFrame>(&batch)?.into_iter().map(PeopleFrame::from));
    }
    let last = frames.last().map(|frame| Cursor { ns: frame.captured_at_ns, name: frame.key() });
    if frames.is_empty() {
        check_zone(&app, query.zone_id.as_deref())?;
    }
    let next = page.next(frames.len(), last, &uri, None);
    for frame in &mut frames {
        frame.persons.retain(|person| {
            let is_person = query.person_id.as_ref().is_none_or(|id| person.id == *id);
            let in_zone = query.zone_id.is_none() || person.zone_id == query.zone_id;
            is_person && in_zone && person.confidence >= query.min_confidence.unwrap_or_default().0
        });
    }
    Ok(List::page(frames, next))
}

/// Returns the frames of a page, up to the end of the page. Its end is found by the times alone, so that the people of
/// later frames are not read.
fn statement(query: &HistoryQuery, page: &Page) -> Result<Query, RequestError> {
    let mut values = vec![
        ("start_ns", Value::Integer(ns(query.start_time)?)),
        ("end_ns", Value::Integer(ns(query.end_time)?)),
    ];
    let of_people = conditions(query, &mut values);
    if let Some(Cursor { ns, name }) = &page.after {
        values.push(("after_ns", Value::Integer(*ns)));
        values.push(("after", Value::Text(name.clone())));
    }
    let frames = frames(&of_people, page.after.is_some());
    let sql = format!(
        "SELECT * FROM ({frames}) AS page WHERE captured_at_ns <= (SELECT max(captured_at_ns) FROM \
         (SELECT captured_at_ns FROM ({frames}) AS page ORDER BY captured_at_ns LIMIT {}) AS times) \
         ORDER BY captured_at_ns, {KEY}",
        page.end()
    );
    Ok(Query::new(sql, Format::ArrowStream).with_values(values))
}

/// Returns the conditions on people, and adds their values.
fn conditions(query: &HistoryQuery, values: &mut Vec<(&str, Value)>) -> Vec<&'static str> {
    let mut conditions = Vec::new();
    if let Some(person) = &query.person_id {
        conditions.push("person = $person");
        values.push(("person", Value::Text(person.clone())));
    }
    if let Some(zone) = &query.zone_id {
        conditions.push("zone = $zone");
        values.push(("zone", Value::Text(zone.clone())));
    }
    if let Some(min_confidence) = query.min_confidence {
        conditions.push("confidence >= $min_confidence");
        values.push(("min_confidence", f64::from(min_confidence.0).into()));
    }
    conditions
}

/// Returns the frames of the time span with people who meet the conditions; those after a cursor, if there is one.
fn frames(of_people: &[&str], has_cursor: bool) -> String {
    let in_span = "captured_at_ns >= $start_ns AND captured_at_ns < $end_ns";
    let mut sql = format!("SELECT * FROM poses WHERE {in_span}");
    if !of_people.is_empty() {
        let of_people = of_people.join(" AND ");
        let people = format!(
            "SELECT captured_at_ns, site, source FROM persons WHERE {in_span} AND {of_people}"
        );
        sql = format!(
            "SELECT frames.* FROM ({sql}) AS frames LEFT SEMI JOIN ({people}) AS people \
             ON frames.captured_at_ns = people.captured_at_ns AND frames.site = people.site \
             AND frames.source = people.source"
        );
    }
    if has_cursor {
        sql = format!(
            "SELECT * FROM ({sql}) AS page WHERE captured_at_ns > $after_ns \
             OR captured_at_ns = $after_ns AND {KEY} > $after"
        );
    }
    sql
}
