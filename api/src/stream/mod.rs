//! The WebSocket: a client subscribes to topics, with filters, and receives updates.
//!
//! A client that reads too slowly misses messages and receives their number. The server closes the
//! connection of a client that reads nothing or does not answer pings.

mod messages;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use schemas::Record;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::app::App;
use crate::auth::{self, Credential};
use crate::error::{Problem, RequestError};
use crate::metrics::RequestMetrics;
use crate::server::{SessionKind, Timeouts};
use crate::stream::messages::{Reply, Subscriptions};

/// Maximum size of a message of a client.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Maximum size of the messages that wait to be sent to a client.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// Read buffer of a client. Its messages are few and short, and there may be thousands of clients.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Maximum number of consecutive pings without an answer, before the server disconnects the client.
const MAX_UNANSWERED: usize = 2;

/// Time-out of a client's close frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a stream ends: the code and the reason of the close frame.
pub(crate) const PIPELINE_ENDED: (u16, &str) = (close_code::AWAY, "the pipeline ended");
const NOT_VALID: (u16, &str) = (4001, "the credential is no longer valid");

/// Sends updates over a WebSocket.
///
/// Subscribe with `{"type": "subscribe", "topic": "pose_updates", "filters": {"zone_id": "kitchen"}}`.
/// Topics are `pose_updates` (frames of people), `zone_events` (events and occupancy), `presence` (motion
/// on links), `activities` (windows) and `rows` (rows of streams with columns of their own). Filters are
/// `zone_id`, `person_id`, `min_confidence` and `source`. A record without the property of a filter does
/// not pass.
#[utoipa::path(
    get,
    path = "/ws/v1/stream",
    responses(
        (status = 101, description = "The connection becomes a WebSocket."),
        (status = 400, description = "The request is not a WebSocket handshake.", body = Problem),
        (status = 503, description = "Too many WebSockets and taps are open.", body = Problem),
    ),
)]
pub(crate) async fn stream(
    State(app): State<App>,
    credential: Option<Extension<Credential>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, RequestError> {
    let upgrade = upgrade.map_err(|_| {
        RequestError::BadRequest(
            "expected a WebSocket handshake: use a WebSocket client".to_owned(),
        )
    })?;
    let session = app.server.connections.session(SessionKind::WebSocket);
    let session = session.ok_or(RequestError::TooManySessions)?;
    let records = app.shared.hub.subscribe();
    let ending = auth::ending(&app, credential.map(|Extension(it)| it));
    Ok(bounded(upgrade).on_upgrade(move |socket| async move {
        // After an error the connection is lost, so the client cannot receive the error.
        if let Ok(Some(mut socket)) =
            talk(socket, records, ending, app.server.timeouts, &app.requests).await
        {
            let close = if *app.server.ending.borrow() { PIPELINE_ENDED } else { NOT_VALID };
            // Without the wait for the client's answer, the connection would be reset.
            let _ = timeout(FAREWELL, say_goodbye(&mut socket, close)).await;
        }
        drop((session, app));
    }))
}

/// Limits the memory of a WebSocket.
pub(crate) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(MAX_WAITING_BYTES)
}

/// Serves a client until the client disconnects or does not answer pings. Returns the socket if the stream
/// ends before.
pub(crate) async fn talk(
    mut socket: WebSocket,
    mut records: Receiver<Arc<Record>>,
    mut ending: watch::Receiver<bool>,
    timeouts: Timeouts,
    counts: &RequestMetrics,
) -> Result<Option<WebSocket>, axum::Error> {
    let reply = |reply: Reply| {
        counts.sent(reply.kind());
        text(&reply)
    };
    let mut subscriptions = Subscriptions::default();
    let mut pings = interval_at(Instant::now() + timeouts.ping, timeouts.ping);
    // A client has the full interval to answer, also after a message that took long to send.
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut n_unanswered = 0;
    send(&mut socket, reply(Reply::connected()), timeouts).await?;
    loop {
        let answer = tokio::select! {
            message = socket.recv() => {
                n_unanswered = 0;
                match message.transpose()? {
                    None | Some(Message::Close(_)) => return Ok(None),
                    Some(Message::Text(message)) => {
                        let answer = subscriptions.handle(&message);
                        counts.received(answer.kind_of_request());
                        reply(answer)
                    }
                    Some(Message::Binary(_)) => {
                        counts.received("invalid");
                        reply(Reply::error("expected a text message"))
                    }
                    Some(Message::Ping(_) | Message::Pong(_)) => continue,
                }
            }
            record = records.recv() => match record {
                Ok(record) => match subscriptions.update(&record) {
                    Some(update) => {
                        counts.sent(update.kind);
                        text(&update)
                    }
                    None => continue,
                },
                Err(RecvError::Lagged(missed)) => reply(Reply::Lagged { missed }),
                Err(RecvError::Closed) => break,
            },
            _ = pings.tick() => {
                if n_unanswered == MAX_UNANSWERED {
                    return Ok(None);
                }
                n_unanswered += 1;
                Message::Ping(Bytes::new())
            }
            _ = ending.changed() => break,
        };
        send(&mut socket, answer, timeouts).await?;
    }
    Ok(Some(socket))
}

/// Sends a close frame, and waits for the client's close frame.
pub(crate) async fn say_goodbye(
    socket: &mut WebSocket,
    (code, reason): (u16, &'static str),
) -> Result<(), axum::Error> {
    let close = CloseFrame { code, reason: reason.into() };
    socket.send(Message::Close(Some(close))).await?;
    while let Some(Ok(_)) = socket.recv().await {}
    Ok(())
}

/// Sends a message; an error if the client does not read it in time.
async fn send(
    socket: &mut WebSocket,
    message: Message,
    timeouts: Timeouts,
) -> Result<(), axum::Error> {
    timeout(timeouts.idle, socket.send(message)).await.map_err(axum::Error::new)?
}

fn text(message: &impl Serialize) -> Message {
    // All messages have a JSON form, except rows with some types of columns.
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}
