//! Accepts connections and serves each until it ends, its client is too slow, or the server ends.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::service::{Service as HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::client::ClientAddress;
use crate::error::RequestError;
use crate::postgres::Postgres;
use crate::server::activity::Activity;
use crate::server::connections::Connections;
use crate::server::socket::Socket;
use crate::server::timeouts::Timeouts;
use crate::server::tls::{IsEncrypted, Stream};

/// Longest body of a request.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Memory of the bodies that are being received, of all clients together, in kibibytes.
const MAX_BODIES_KIB: usize = 256 * 1024;
/// Bytes of the buffers of an HTTP/1 connection: they bound a request's header, and how much of a response
/// is buffered before it is written.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Longest path and query of a request.
const MAX_URI_BYTES: usize = 8 * 1024;
/// Longest header of a request.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Pause after a failure to accept a connection. It doubles with each further failure, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Room for bodies.
static BODIES: Semaphore = Semaphore::const_new(MAX_BODIES_KIB);

/// What serves the connections of an address.
#[derive(Clone, Debug)]
pub(crate) enum Service {
    Http(Router),
    Postgres(Postgres),
}

/// State that all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    pub(crate) service: Service,
    pub(crate) connections: Arc<Connections>,
    pub(crate) timeouts: Timeouts,
    /// Becomes true when the server ends.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Acceptor {
    /// Serves each connection on a task of its own, until the server ends.
    pub(crate) async fn run(mut self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let connections = Arc::clone(&self.connections);
        loop {
            let accepted = async {
                let (stream, client) = accept(&listener, &connections).await;
                (stream, client, connections.place().await)
            };
            let (stream, client, place) = tokio::select! {
                accepted = accepted => accepted,
                _ = self.ending.wait_for(|ending| *ending) => return,
            };
            tokio::spawn(self.clone().serve(stream, tls.clone(), client, place));
        }
    }

    async fn serve(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        client: ClientAddress,
        place: OwnedSemaphorePermit,
    ) {
        let activity = Arc::new(Activity::new());
        let _registration = self.connections.register(&activity);
        let (connections, of_protocol) = (Arc::clone(&self.connections), self.timeouts());
        let served = self.converse(stream, tls, client, place, Arc::clone(&activity));
        tokio::select! {
            () = served => {}
            why = activity.closing(&of_protocol) => {
                connections.closed(why);
                tracing::debug!(?why, "closing a connection");
            }
        }
    }

    fn timeouts(&self) -> Timeouts {
        match self.service {
            Service::Http(_) => self.timeouts,
            Service::Postgres(_) => Postgres::timeouts(self.timeouts),
        }
    }

    async fn converse(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        client: ClientAddress,
        place: OwnedSemaphorePermit,
        activity: Arc<Activity>,
    ) {
        match self.service {
            Service::Postgres(postgres) => {
                postgres.serve(stream, tls.as_ref(), client, activity, place, self.ending).await;
            }
            Service::Http(router) => {
                let stream = match Stream::accept(stream, tls.as_ref()).await {
                    Ok(stream) => stream,
                    Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
                };
                let is_encrypted = IsEncrypted(tls.is_some());
                let socket = Socket::new(stream, Arc::clone(&activity), place);
                let timeouts = self.timeouts;
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(client);
                    request.extensions_mut().insert(is_encrypted);
                    respond(request, router.clone(), Arc::clone(&activity), timeouts)
                });
                serve_http(socket, service, timeouts, self.ending).await;
            }
        }
    }
}

/// Serves a connection of HTTP. When the server ends, it answers the requests that have arrived.
async fn serve_http<S>(
    socket: Socket,
    service: S,
    timeouts: Timeouts,
    mut ending: watch::Receiver<bool>,
) where
    S: HttpService<Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    let builder = builder(timeouts);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            _ = ending.wait_for(|ending| *ending), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns the next connection. After an error, such as too many open files, it tries again: the error may be
/// temporary, and the system does not report its end.
async fn accept(listener: &TcpListener, connections: &Connections) -> (TcpStream, ClientAddress) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                return (stream, ClientAddress(address.ip().to_canonical()));
            }
            Err(error) => {
                connections.accept_failed();
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "could not accept a connection, trying again");
                }
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    }
}

fn builder(timeouts: Timeouts) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeouts.ping)
        .keep_alive_timeout(timeouts.ping)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}

/// Reads the whole request, then passes it to the router.
async fn respond(
    request: Request<Incoming>,
    router: Router,
    activity: Arc<Activity>,
    timeouts: Timeouts,
) -> Result<Response, Infallible> {
    let receiving = activity.receiving();
    let (mut parts, body) = request.into_parts();
    let body = match check_head(&parts) {
        Ok(()) => receive(body, timeouts.body).await,
        Err(error) => Err(error),
    };
    let _working = activity.working();
    drop(receiving);
    let body = match body {
        Ok(body) => Body::from(body),
        Err(error) => return Ok(error.into_response()),
    };
    parts.extensions.insert(Arc::clone(&activity));
    let response = TowerToHyperService::new(router).call(Request::from_parts(parts, body)).await;
    if response.as_ref().is_ok_and(|response| response.status() == StatusCode::SWITCHING_PROTOCOLS)
    {
        activity.change_protocol();
    }
    response
}

/// Receives a body, up to limits of length and time.
async fn receive(body: Incoming, limit: Duration) -> Result<Bytes, RequestError> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(RequestError::LongBody(MAX_BODY_BYTES));
    }
    // A body without a length may have any.
    let n_bytes = body.size_hint().exact().unwrap_or(MAX_BODY_BYTES as u64);
    let n_kib = u32::try_from(n_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let _room = BODIES.try_acquire_many(n_kib).map_err(|_| RequestError::TooManyBodies)?;
    let received = timeout(limit, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    match received {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(RequestError::LongBody(MAX_BODY_BYTES))
        }
        Ok(Err(error)) => Err(RequestError::Body(error)),
        Err(_) => Err(RequestError::SlowBody(limit)),
    }
}

/// Refuses long headers, and requests that are for no host or for several.
fn check_head(head: &Parts) -> Result<(), RequestError> {
    let uri = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri > MAX_URI_BYTES {
        return Err(RequestError::LongUri(MAX_URI_BYTES));
    }
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if fields.sum::<usize>() > MAX_HEADER_BYTES as usize {
        return Err(RequestError::LongHeader(MAX_HEADER_BYTES));
    }
    let n_hosts = head.headers.get_all(header::HOST).iter().count();
    let needs_host = head.version == Version::HTTP_11;
    if n_hosts > 1 || needs_host && n_hosts == 0 {
        return Err(RequestError::Hosts(n_hosts));
    }
    Ok(())
}
