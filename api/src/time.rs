//! Times of requests and responses.

use chrono::{DateTime, SecondsFormat, Utc};
use schemas::SourceKind;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::RequestError;
use crate::wall_clock::now;

/// The start of the year 2000. Earlier times count from the start of a device.
const FIRST_TIME_NS: i64 = 946_684_800_000_000_000;
/// The length of a span without a start.
const DAY_NS: i64 = 86_400_000_000_000;

/// Returns the time of a record; none if the clock of its device counts from its start.
pub(crate) fn timestamp(ns: i64) -> Option<DateTime<Utc>> {
    (ns >= FIRST_TIME_NS).then(|| DateTime::from_timestamp_nanos(ns))
}

/// A time span, by default the last day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanParameters {
    /// The start, inclusive; a day before the end by default.
    pub(crate) start_time: Option<DateTime<Utc>>,
    /// The end, exclusive; by default now, and for recordings the end of their newest frame.
    pub(crate) end_time: Option<DateTime<Utc>>,
}

/// A time span in nanoseconds since the Unix epoch: the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
}

impl Span {
    /// Returns the span as the query of a URL.
    pub(crate) fn query(self) -> String {
        let time = |ns: i64| Some(DateTime::from_timestamp_nanos(ns));
        let (start_time, end_time) = (time(self.start_ns), time(self.end_ns));
        SpanParameters { start_time, end_time }.query()
    }
}

impl SpanParameters {
    /// Returns the parameters as the query of a URL.
    pub(crate) fn query(self) -> String {
        let times = [("start_time", self.start_time), ("end_time", self.end_time)];
        let times = times.into_iter().filter_map(|(name, time)| {
            Some(format!("{name}={}", time?.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
        });
        times.collect::<Vec<_>>().join("&")
    }

    /// Returns the span with its defaults.
    ///
    /// # Errors
    ///
    /// [`RequestError::BadRequest`] for times that nanoseconds cannot represent, and for a start after the end.
    pub(crate) fn span(self, app: &App) -> Result<Span, RequestError> {
        let end_ns = self.end_time.map(ns).transpose()?.unwrap_or_else(|| latest_ns(app));
        let day = || end_ns.saturating_sub(DAY_NS);
        let start_ns = self.start_time.map(ns).transpose()?.unwrap_or_else(day);
        if start_ns > end_ns {
            return Err(RequestError::BadRequest("start_time is after end_time".to_owned()));
        }
        Ok(Span { start_ns, end_ns })
    }
}

/// Returns nanoseconds since the Unix epoch.
pub(crate) fn ns(time: DateTime<Utc>) -> Result<i64, RequestError> {
    let range =
        || RequestError::BadRequest("times must lie between the years 1678 and 2262".to_owned());
    time.timestamp_nanos_opt().ok_or_else(range)
}

/// Returns the time now, on the clock of the records: for recordings that of their newest frame, and at least
/// that for simulations that are ahead.
fn latest_ns(app: &App) -> i64 {
    let frames = app.shared.hub.latest_poses();
    let newest = frames.iter().max_by_key(|frame| frame.captured_at_ns);
    let now_ns = now().timestamp_nanos_opt().unwrap_or(i64::MAX);
    newest.map_or(now_ns, |frame| {
        let end_ns = frame.captured_at_ns.saturating_add(1);
        let is_recorded = frame.source_kind == SourceKind::Replay;
        if is_recorded { end_ns } else { end_ns.max(now_ns) }
    })
}
