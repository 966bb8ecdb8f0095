//! Taps: the records of a stream, sent to a client while they flow.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use engine::{Tap, Tapped};
use futures::stream;
use tokio::sync::watch;

use crate::app::App;
use crate::auth::{self, Credential};
use crate::error::{Problem, RequestError};
use crate::server::{Activity, SessionKind};

/// The media type of JSON Lines without an end.
pub(crate) const STREAM_MEDIA_TYPE: &str = "application/x-ndjson";

/// Sends the records of a stream while they flow, as JSON Lines, until the client disconnects.
///
/// A client that reads too slowly misses the oldest records. It receives a line with their number, such as
/// `{"missed":3}`.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{name}/tap",
    params(("name" = String, Path, description = "A source, an operator, or one of its ports as in `zones.events`.")),
    responses(
        (status = 200, description = "Records, one a line.", body = String, content_type = "application/x-ndjson"),
        (status = 404, description = "The pipeline has no such stream.", body = Problem),
        (status = 503, description = "Too many WebSockets and taps are open.", body = Problem),
    ),
)]
pub(crate) async fn tap(
    State(app): State<App>,
    Path(name): Path<String>,
    Extension(activity): Extension<Arc<Activity>>,
    credential: Option<Extension<Credential>>,
) -> Result<Response, RequestError> {
    let streams = app.shared.plan.streams();
    let names: Vec<_> = streams.keys().map(ToString::to_string).collect();
    let stream = streams.into_keys().find(|stream| stream.to_string() == name);
    let stream = stream.ok_or_else(|| {
        let names = names.join(", ");
        RequestError::NotFound(format!("stream \"{name}\" not found: expected one of {names}"))
    })?;
    let session =
        app.server.connections.session(SessionKind::Tap).ok_or(RequestError::TooManySessions)?;
    let ending = auth::ending(&app, credential.map(|Extension(it)| it));
    let state = (app.shared.taps.open(stream), ending, session);
    let lines = stream::unfold(state, move |(tap, mut ending, session)| {
        let activity = Arc::clone(&activity);
        async move {
            // A client of an idle stream must not count as a client that does not read.
            let _working = activity.working();
            let lines = next(&tap, &mut ending).await?;
            Some((Ok::<_, serde_json::Error>(lines), (tap, ending, session)))
        }
    });
    let media_type = [(header::CONTENT_TYPE, STREAM_MEDIA_TYPE)];
    Ok((media_type, Body::from_stream(lines)).into_response())
}

/// Waits for the next record and returns it as lines; none when the server ends.
async fn next(tap: &Tap, ending: &mut watch::Receiver<bool>) -> Option<Vec<u8>> {
    tokio::select! {
        tapped = tap.next() => Some(lines(&tapped)),
        _ = ending.wait_for(|ending| *ending) => None,
    }
}

/// Returns a record as lines, after a line with the number of missed records if there are any.
fn lines(tapped: &Tapped) -> Vec<u8> {
    let mut lines = match tapped.n_missed {
        0 => Vec::new(),
        n_missed => format!("{{\"missed\":{n_missed}}}\n").into_bytes(),
    };
    let whole = lines.len();
    if tapped.record.write_json_lines(&mut lines).is_err() {
        // A partial line is not valid JSON.
        lines.truncate(whole);
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{Event, Record};

    use super::*;

    #[test]
    fn what_was_missed_is_told_first() {
        let record = Arc::new(Record::Event(Event::default()));
        let line = serde_json::to_string(&*record).expect("a record is JSON");
        let text = |n_missed| {
            let tapped = Tapped { record: Arc::clone(&record), n_missed };
            String::from_utf8(lines(&tapped)).expect("JSON is text")
        };
        assert_eq!(text(0), format!("{line}\n"));
        assert_eq!(text(3), format!("{{\"missed\":3}}\n{line}\n"));
    }
}
