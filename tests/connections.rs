//! Many clients at once: clients that send nothing do not block others, and an idle WebSocket needs little
//! memory.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tungstenite::WebSocket;

use crate::support::{port, process, wait};

/// Descriptors of the program for files and sockets; half of them are for connections.
const N_DESCRIPTORS: usize = 256;
/// Clients that send nothing: more than the program has descriptors.
const N_SILENT: usize = 400;

/// Clients that are slow to send, and as many that do not read.
const N_SLOW: usize = 2000;
/// Longer than the server waits for any of them.
const SLOW_TIME: Duration = Duration::from_secs(35);
/// Limit of 99 of 100 responses to others.
const MAX_RESPONSE_TIME: Duration = Duration::from_millis(500);

const N_WEBSOCKETS: usize = 300;
/// Limit of the memory for each WebSocket.
const WEBSOCKET_BYTES: u64 = 20 * 1024;
const WEBSOCKETS: &str = "fresnel_api_sessions{kind=\"websocket\"} ";

/// A pipeline without input.
const PIPELINE: &str = r#"
name = "lab"

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { tcp = "ADDRESS" }

[sinks.lines]
type = "json_lines"
inputs = ["laptop"]
path = "out.jsonl"
"#;

pub(crate) fn silent_clients_keep_nobody_out() {
    let directory = tempfile::tempdir().expect("room");
    let arguments = ["demo", "--listen", "127.0.0.1:0"];
    let server = process::Server::start_limited(directory.path(), &arguments, N_DESCRIPTORS);
    let beginnings = [
        "",
        "PRI * HT",
        "GET / HTTP/1.1\r\nHo",
        "POST /api/v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ];
    let mut clients = Vec::new();
    for beginning in beginnings.into_iter().cycle().take(N_SILENT) {
        let mut client = TcpStream::connect(&server.address).expect("it listens");
        client.write_all(beginning.as_bytes()).expect("it is open");
        clients.push(client);
        if clients.len().is_multiple_of(100) {
            assert_eq!(server.get("/api/v1/system/health").0, 200);
        }
    }
    assert!(server.metric("fresnel_api_connections ") <= N_DESCRIPTORS as u64 / 2);
    assert!(server.metric("fresnel_api_closed_total{reason=\"evicted\"} ") > 0);
    // The pipeline continues.
    for component in ["room", "history"] {
        let counter = format!("fresnel_records_total{{component=\"{component}\"}} ");
        let before = server.metric(&counter);
        while server.metric(&counter) == before {}
    }
    assert_eq!(server.metric("fresnel_api_accept_errors_total "), 0);
    // The pipeline has enough descriptors to commit.
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
}

/// Clients that send a byte a second of a header, a body or a handshake, and clients that do not read, delay nobody.
/// The server closes them at its limits of 10 and 30 seconds.
#[expect(clippy::disallowed_methods, reason = "the limit of a response is a time")]
pub(crate) fn slow_clients_delay_nobody() {
    raise_descriptors();
    let directory = tempfile::tempdir().expect("room");
    let server = process::Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    let connect = |beginning: &[u8]| {
        let mut client = TcpStream::connect(&server.address).expect("it listens");
        client.write_all(beginning).expect("it is open");
        client.set_nonblocking(true).expect("it is a socket");
        client
    };
    let slow = [
        &b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: "[..],
        b"POST /api/v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 900\r\n\r\n",
        b"GET /ws/v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nX-Slow: ",
    ];
    let asks = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4);
    let mut dribbling: Vec<_> = slow.into_iter().cycle().take(N_SLOW).map(connect).collect();
    let deaf: Vec<_> = (0..N_SLOW).map(|_| connect(&asks)).collect();
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < SLOW_TIME {
        dribbling.retain_mut(|client| client.write(b"a").is_ok_and(|n_bytes| n_bytes == 1));
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(server.get("/health/live").0, 204);
            times.push(asked.elapsed());
            // Spreads the requests over the whole time.
            thread::sleep(Duration::from_millis(20));
        }
    }
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 < MAX_RESPONSE_TIME, "{p99:?}");
    assert!(dribbling.is_empty(), "{} clients that dribble are connected", dribbling.len());
    wait::until("clients that do not read are closed", || {
        server.metric("fresnel_api_connections ") < 10
    });
    drop(deaf);
}

/// Lets this process have as many sockets as the system allows.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it may be raised");
}

pub(crate) fn idle_websockets_are_counted_and_small() {
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("ADDRESS", &format!("127.0.0.1:{}", port::free()));
    fs::write(directory.path().join("lab.toml"), pipeline).expect("room");
    let arguments = ["run", "lab.toml", "--listen", "127.0.0.1:0"];
    let server = process::Server::start(directory.path(), &arguments);
    let connect = |n: usize| (0..n).map(|_| welcomed(&server.address)).collect::<Vec<_>>();
    // Later connections reuse the memory that the first ones allocate.
    let first = connect(50);
    let before = server.memory_bytes();
    let others = connect(N_WEBSOCKETS);
    let grown = server.memory_bytes().saturating_sub(before);
    let each = grown / N_WEBSOCKETS as u64;
    assert!(each <= WEBSOCKET_BYTES, "{each} bytes each");
    assert_eq!(server.metric(WEBSOCKETS), (first.len() + others.len()) as u64);
    drop((first, others));
    while server.metric(WEBSOCKETS) > 0 {}
    assert_eq!(server.terminate().0, Some(0));
}

/// Returns a WebSocket that the server has begun to serve.
fn welcomed(address: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    let url = format!("ws://{address}/ws/v1/stream");
    let (mut socket, _) = tungstenite::client(url, stream).expect("it is a WebSocket");
    socket.read().expect("it says that it is connected");
    socket
}
