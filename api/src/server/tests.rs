//! Silent, slow and numerous clients, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::get;
use engine::Metrics;
use schemas::{Event, Record};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, broadcast, watch};

use super::acceptor::{Acceptor, Service};
use super::{Connections, SessionKind, Timeouts, listen};
use crate::metrics::RequestMetrics;
use crate::stream::{PIPELINE_ENDED, bounded, say_goodbye, talk};

/// Limit of each wait, longer than any expected wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Size of a response that exceeds the system's buffers for a client that does not read.
const BIG: usize = 8 * 1024 * 1024;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_BIG: &[u8] = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
const NOTHING: &[u8] = b"";
const HALF_HEADER: &[u8] = b"GET / HTTP/1.1\r\nHo";
const HALF_BODY: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
const HALF_PREFACE: &[u8] = b"PRI * HT";
/// The preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// The same, and a request: the headers of `GET /` are in HPACK's static table.
const GET_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\
                       \x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x86\x84";
const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Opcodes of WebSocket frames.
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// State that the handlers of the tests share.
#[derive(Clone)]
struct Shared {
    connections: Arc<Connections>,
    timeouts: Timeouts,
    records: broadcast::Sender<Arc<Record>>,
    ending: watch::Receiver<bool>,
    /// Slow requests that have arrived.
    n_slow: Arc<AtomicUsize>,
    /// One permit for each slow request that may be answered.
    gate: Arc<Semaphore>,
}

/// A server with the handlers of the tests.
struct Host {
    runtime: Runtime,
    address: SocketAddr,
    ending: watch::Sender<bool>,
    shared: Shared,
}

impl Host {
    fn start(timeouts: Timeouts, max_connections: usize) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("threads");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(async { listen(any_port) }).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (ending, watched) = watch::channel(false);
        let connections = Arc::new(Connections::new(max_connections));
        let shared = Shared {
            connections: Arc::clone(&connections),
            timeouts,
            records: broadcast::channel(16).0,
            ending: watched.clone(),
            n_slow: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let router = Router::new()
            .route("/", get(hello).post(hello))
            .route("/big", get(big))
            .route("/slow", get(slow))
            .route("/ws", get(ws))
            .with_state(shared.clone());
        let acceptor =
            Acceptor { service: Service::Http(router), connections, timeouts, ending: watched };
        runtime.spawn(acceptor.run(listener, None));
        Self { runtime, address, ending, shared }
    }

    /// Connects and sends `bytes`.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(bytes).expect("it is open");
        stream
    }

    fn metrics(&self) -> String {
        let mut metrics = Metrics::default();
        self.shared.connections.write(&mut metrics);
        metrics.to_string()
    }

    /// Returns a WebSocket that has received the first message of the server.
    fn websocket(&self) -> TcpStream {
        let mut stream = self.send(UPGRADE);
        assert!(head(&mut stream).starts_with("HTTP/1.1 101"));
        assert_eq!(frame(&mut stream).0, TEXT);
        stream
    }

    /// Waits until a line is among the metrics.
    fn wait_for(&self, line: &str) {
        let line = format!("{line}\n");
        while !self.metrics().contains(&line) {
            thread::yield_now();
        }
    }
}

async fn hello() -> &'static str {
    "hello"
}

async fn big() -> Vec<u8> {
    vec![b'x'; BIG]
}

async fn slow(State(shared): State<Shared>) -> &'static str {
    shared.n_slow.fetch_add(1, Ordering::Relaxed);
    let permit = shared.gate.acquire().await;
    permit.expect("it is never closed").forget();
    "hello"
}

async fn ws(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let session = shared.connections.session(SessionKind::WebSocket);
    let records = shared.records.subscribe();
    bounded(upgrade).on_upgrade(move |socket| async move {
        let counts = RequestMetrics::default();
        if let Ok(Some(mut socket)) =
            talk(socket, records, shared.ending, shared.timeouts, &counts).await
        {
            let _ = say_goodbye(&mut socket, PIPELINE_ENDED).await;
        }
        drop(session);
    })
}

/// Returns the bytes until the server closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("still open: {error}"),
        _ => String::from_utf8_lossy(&received).into_owned(),
    }
}

/// Returns the header of a response.
fn head(stream: &mut TcpStream) -> String {
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a response");
        received.extend(byte);
    }
    String::from_utf8(received).expect("text")
}

/// Returns the opcode and the payload of the next WebSocket frame.
fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).expect("a frame");
    let mut n_bytes = usize::from(header[1]);
    if n_bytes == 126 {
        let mut extended = [0; 2];
        stream.read_exact(&mut extended).expect("a length");
        n_bytes = usize::from(u16::from_be_bytes(extended));
    }
    let mut payload = vec![0; n_bytes];
    stream.read_exact(&mut payload).expect("a payload");
    (header[0] & 0x0f, payload)
}

/// Sends a short frame, with a mask that changes nothing.
fn send_frame(stream: &mut TcpStream, kind: u8, payload: &str) {
    let n_bytes = u8::try_from(payload.len()).expect("it is short");
    let header = [0x80 | kind, 0x80 | n_bytes, 0, 0, 0, 0];
    stream.write_all(&[&header[..], payload.as_bytes()].concat()).expect("it is open");
}

/// Returns true if nothing arrives for 300 ms and the connection stays open.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn a_client_that_never_asks_is_closed() {
    let header = Duration::from_millis(50);
    let host = Host::start(Timeouts { header, ..Timeouts::default() }, 8);
    for bytes in [NOTHING, HALF_PREFACE, HALF_HEADER, PREFACE] {
        assert!(!rest(&mut host.send(bytes)).contains("HTTP/1.1 200"));
    }
    host.wait_for("fresnel_api_closed_total{reason=\"timed out\"} 4");
    host.wait_for("fresnel_api_connections 0");
}

#[test]
fn a_header_that_trickles_is_closed() {
    let header = Duration::from_millis(50);
    let host = Host::start(Timeouts { header, ..Timeouts::default() }, 8);
    let mut client = host.send(HALF_HEADER);
    client.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket");
    while client.write_all(b"o").is_ok() {
        match client.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => {
                assert_eq!(read.unwrap_or(0), 0, "half a request was answered");
                break;
            }
        }
    }
    host.wait_for("fresnel_api_closed_total{reason=\"timed out\"} 1");
}

#[test]
fn a_client_that_is_done_is_closed() {
    let idle = Duration::from_millis(50);
    let host = Host::start(Timeouts { idle, ..Timeouts::default() }, 8);
    for request in [GET, GET_2] {
        assert!(rest(&mut host.send(request)).contains("hello"));
    }
    host.wait_for("fresnel_api_closed_total{reason=\"timed out\"} 2");
}

#[test]
fn a_body_that_does_not_come_is_refused() {
    let body = Duration::from_millis(50);
    let host = Host::start(Timeouts { body, ..Timeouts::default() }, 8);
    assert!(head(&mut host.send(HALF_BODY)).starts_with("HTTP/1.1 408"));
    let whole = [HALF_BODY, b"cde"].concat();
    assert!(head(&mut host.send(&whole)).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let idle = Duration::from_millis(100);
    let host = Host::start(Timeouts { idle, ..Timeouts::default() }, 8);
    let mut client = host.send(GET_BIG);
    host.wait_for("fresnel_api_closed_total{reason=\"timed out\"} 1");
    assert!(rest(&mut client).len() < BIG);
}

#[test]
fn work_takes_as_long_as_it_takes() {
    let idle = Duration::from_millis(20);
    let host = Host::start(Timeouts { idle, ..Timeouts::default() }, 8);
    let mut client = host.send(GET_SLOW);
    assert!(is_silent(&mut client));
    host.shared.gate.add_permits(1);
    assert!(rest(&mut client).ends_with("hello"));
}

#[test]
fn clients_that_are_waited_for_make_room() {
    let host = Host::start(Timeouts::default(), 4);
    for bytes in [NOTHING, HALF_PREFACE, HALF_HEADER, PREFACE, HALF_BODY, GET_BIG] {
        let crowd: Vec<_> = (0..8).map(|_| host.send(bytes)).collect();
        assert!(head(&mut host.send(GET)).starts_with("HTTP/1.1 200"));
        drop(crowd);
    }
    assert!(!host.metrics().contains("{reason=\"evicted\"} 0\n"));
}

#[test]
fn requests_that_are_worked_on_keep_their_place() {
    let host = Host::start(Timeouts::default(), 2);
    let mut slow = [(); 2].map(|()| host.send(GET_SLOW));
    while host.shared.n_slow.load(Ordering::Relaxed) < 2 {
        thread::yield_now();
    }
    let mut third = host.send(GET);
    assert!(is_silent(&mut third));
    host.shared.gate.add_permits(2);
    for client in slow.iter_mut().chain([&mut third]) {
        assert!(head(client).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_websocket_keeps_its_place_until_it_is_closed() {
    let host = Host::start(Timeouts::default(), 8);
    let client = host.websocket();
    host.wait_for("fresnel_api_sessions{kind=\"websocket\"} 1");
    host.wait_for("fresnel_api_connections 1");
    drop(client);
    host.wait_for("fresnel_api_sessions{kind=\"websocket\"} 0");
    host.wait_for("fresnel_api_connections 0");
}

#[test]
fn a_websocket_that_does_not_answer_is_closed() {
    let ping = Duration::from_millis(200);
    let host = Host::start(Timeouts { ping, ..Timeouts::default() }, 8);
    let (mut silent, mut answering) = (host.websocket(), host.websocket());
    for _ in 0..5 {
        assert_eq!(frame(&mut answering).0, PING);
        send_frame(&mut answering, PONG, "");
    }
    rest(&mut silent);
    assert_eq!(frame(&mut answering).0, PING, "it is still open");
}

#[test]
fn a_websocket_that_does_not_read_is_closed() {
    let idle = Duration::from_millis(100);
    let host = Host::start(Timeouts { idle, ..Timeouts::default() }, 8);
    let mut client = host.websocket();
    send_frame(&mut client, TEXT, r#"{"type":"subscribe","topic":"zone_events"}"#);
    assert_eq!(frame(&mut client).0, TEXT);
    let event = Event { subject: "x".repeat(64 * 1024), ..Event::default() };
    let event = Arc::new(Record::Event(event));
    let closed = "fresnel_api_sessions{kind=\"websocket\"} 0\n";
    while !host.metrics().contains(closed) {
        // An error means that the WebSocket is closed, so no receiver is left.
        let _ = host.shared.records.send(Arc::clone(&event));
        thread::yield_now();
    }
    host.wait_for("fresnel_api_connections 0");
}

#[test]
fn the_end_closes_what_is_idle() {
    let Host { runtime, address: _, ending, shared } = {
        let host = Host::start(Timeouts::default(), 8);
        let mut websocket = host.websocket();
        let mut idle = [host.send(HALF_PREFACE), host.send(GET)];
        assert!(head(&mut idle[1]).starts_with("HTTP/1.1 200"));
        host.ending.send(true).expect("it runs");
        for client in &mut idle {
            rest(client);
        }
        assert_eq!(frame(&mut websocket).0, CLOSE);
        host
    };
    drop(shared);
    // No connection is left that would have to end first.
    runtime.block_on(async { tokio::time::timeout(PATIENCE, ending.closed()).await }).expect("end");
}
