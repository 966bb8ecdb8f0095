//! A look at the records of a stream.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use schemas::Record;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use crate::error::{Problem, RequestError};
use crate::router::App;
use crate::server::{Activity, SessionKind};

/// Gives the records of a stream while they flow, as lines of JSON, until the client has seen enough. A
/// client that is too slow misses some.
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
) -> Result<Response, RequestError> {
    let streams = app.shared.plan.streams();
    let stream = streams.into_keys().find(|stream| stream.to_string() == name);
    let stream = stream.ok_or(RequestError::NotFound("the pipeline has no such stream"))?;
    let session = app.connections.session(SessionKind::Tap).ok_or(RequestError::TooManySessions)?;
    let state = (app.shared.taps.open(stream), app.ending, session);
    let lines = stream::unfold(state, move |(mut records, mut ending, session)| {
        let activity = Arc::clone(&activity);
        async move {
            // A stream that is silent is no client that does not read.
            let _working = activity.working();
            let lines = next(&mut records, &mut ending).await?;
            Some((Ok::<_, serde_json::Error>(lines), (records, ending, session)))
        }
    });
    let media_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((media_type, Body::from_stream(lines)).into_response())
}

/// The next record as lines; none when the server ends.
async fn next(
    records: &mut Receiver<Record>,
    ending: &mut watch::Receiver<bool>,
) -> Option<Vec<u8>> {
    let record = tokio::select! {
        record = records.recv() => record?,
        _ = ending.wait_for(|ending| *ending) => return None,
    };
    let mut lines = Vec::new();
    match record.write_json_lines(&mut lines) {
        Ok(()) => Some(lines),
        // Half a line would be none.
        Err(_) => Some(Vec::new()),
    }
}
