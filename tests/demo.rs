//! The demo: people move on the live stream, SQL queries return rows, and a signal ends the run in order.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::support::process::{self, Server, succeed};

/// Time limit until people move on the live stream and SQL returns rows.
const PATIENCE: Duration = Duration::from_secs(10);
/// Distance after which a person counts as moving.
const MOVED_M: f64 = 0.3;

fn start() -> (TempDir, Server) {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    (directory, server)
}

fn connect(server: &Server) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(&server.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let url = format!("ws://{}/ws/v1/stream", server.address);
    tungstenite::client(url, stream).expect("it is a WebSocket").0
}

fn say(socket: &mut WebSocket<TcpStream>, message: &Value) {
    socket.send(Message::text(message.to_string())).expect("it listens");
}

fn hear(socket: &mut WebSocket<TcpStream>) -> Value {
    let message = socket.read().expect("it talks");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

fn sql(server: &Server, q: &str) -> Value {
    let (status, body) = server.post("/api/v1/sql", &json!({ "q": q }));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[expect(clippy::disallowed_methods, reason = "the demo promises to be quick")]
pub(crate) fn people_move_and_sql_answers() {
    let started = Instant::now();
    let (_directory, server) = start();
    let mut socket = connect(&server);
    assert_eq!(hear(&mut socket)["status"], "connected");
    say(
        &mut socket,
        &json!({ "type": "subscribe", "topic": "pose_updates", "filters": { "source": "activity" } }),
    );
    assert_eq!(hear(&mut socket)["status"], "subscribed");
    let mut first: Option<(Value, [f64; 2])> = None;
    loop {
        assert!(started.elapsed() < PATIENCE, "nobody moved");
        let frame = hear(&mut socket)["data"].take();
        assert_eq!(frame["source_kind"], "simulated", "it says what it is");
        let Some(person) = frame["persons"].as_array().and_then(|persons| persons.first()) else {
            continue;
        };
        assert_eq!(person["keypoints"].as_array().map(Vec::len), Some(17));
        let place = ["x_m", "y_m"].map(|axis| person["position"][axis].as_f64().expect("metres"));
        match &first {
            Some((id, from)) if *id == person["id"] => {
                if (place[0] - from[0]).hypot(place[1] - from[1]) > MOVED_M {
                    break;
                }
            }
            _ => first = Some((person["id"].clone(), place)),
        }
    }
    let rows = sql(&server, "SELECT zone, count(*) AS n FROM persons GROUP BY zone");
    assert!(rows.as_array().is_some_and(|rows| !rows.is_empty()), "{rows}");
    assert!(started.elapsed() < PATIENCE, "SQL took too long");
    the_api_tells_the_same(&server);
}

fn the_api_tells_the_same(server: &Server) {
    let get = |path: &str| {
        let (status, body) = server.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    let json = |path: &str| serde_json::from_str::<Value>(&get(path)).expect("JSON");
    let current = json("/api/v1/pose/current?min_confidence=0");
    assert_eq!(current["source"], "activity");
    let history =
        "/api/v1/pose/history?start_time=2020-01-01T00:00:00Z&end_time=2200-01-01T00:00:00Z";
    let frames = json(&format!("{history}&limit=5"));
    assert_eq!(frames.as_array().map(Vec::len), Some(5));
    assert_eq!(frames[0]["frame_id"], 0, "oldest first");
    let person = json(&format!("{history}&person_id=p1"));
    let persons =
        person.as_array().expect("frames").iter().filter_map(|frame| frame["persons"].as_array());
    assert!(persons.flatten().all(|person| person["id"] == "p1"));
    assert_eq!(json("/api/v1/system/health")["status"], "healthy");
    assert!(json("/api/v1/system/status")["components"]["room"]["records"].as_u64() > Some(100));
    assert_eq!(json("/api/v1/config/zones").as_array().map(Vec::len), Some(4));
    assert!(json("/api/v1/openapi.json")["paths"]["/api/v1/sql"].is_object());
    assert!(get("/metrics").contains("fresnel_records_total{component=\"room\"}"));
    assert!(get("/").contains("<canvas"));
}

pub(crate) fn a_signal_ends_it_in_order() {
    let (directory, server) = start();
    let mut socket = connect(&server);
    say(&mut socket, &json!({ "type": "subscribe", "topic": "pose_updates" }));
    // Some frames of people have arrived, none of them is committed yet.
    while sql(&server, "SELECT count(*) AS n FROM poses")[0]["n"].as_u64() < Some(5) {
        hear(&mut socket);
    }
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    let history = said.lines().find_map(|line| line.strip_prefix("history: "));
    let told: u64 =
        history.and_then(|line| line.split(' ').next()).expect(&said).parse().expect("n");
    let closed = loop {
        if let Message::Close(close) = socket.read().expect("it says why it ends") {
            break close;
        }
    };
    assert_eq!(u16::from(closed.expect("a reason").code), 1001);
    let tables = ["poses", "occupancy", "events", "activities"];
    let counts = tables.map(|table| format!("(SELECT count(*) FROM {table})"));
    let sql = format!("SELECT {} AS n", counts.join(" + "));
    let history = directory.path().join("demo/history");
    let arguments = ["sql", "--history", &history.to_string_lossy(), "--format", "json", &sql];
    let rows: Value = serde_json::from_str(&succeed(directory.path(), &arguments)).expect("JSON");
    assert_eq!(rows[0]["n"].as_u64(), Some(told), "all that was accepted is committed");
}

pub(crate) fn requests_that_make_no_sense_are_refused() {
    let (_directory, server) = start();
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000)";
    let deep = format!("SELECT 1{}", "+1".repeat(5000));
    for (query, expected) in [
        (json!({ "q": "DROP TABLE poses" }), 400),
        (json!({ "q": "INSERT INTO poses SELECT * FROM poses" }), 400),
        (json!({ "q": "COPY poses TO '/tmp/poses.csv'" }), 400),
        (json!({ "q": "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'" }), 400),
        (json!({ "q": "SET datafusion.execution.batch_size = 1" }), 400),
        (json!({ "q": "SELECT 1; SELECT 2" }), 400),
        (json!({ "q": "SELECT * FROM '/etc/passwd'" }), 400),
        (json!({ "q": "SELECT * FROM nowhere" }), 400),
        (json!({ "q": "SELEKT" }), 400),
        (json!({ "q": deep }), 400),
        (json!({ "q": "SELECT 1", "fromat": "csv" }), 400),
        (json!({ "q": "SELECT 1", "format": "xml" }), 400),
        (json!({ "p": 1 }), 400),
        (json!({ "q": "SELECT * FROM generate_series(1, 200000)" }), 413),
        (json!({ "q": endless, "timeout": "200ms" }), 408),
        (json!({ "q": endless, "timeout_ms": 200 }), 408),
        (json!({ "q": "SELECT 1", "timeout": "soon" }), 400),
        (json!({ "q": "SELECT * FROM poses", "format": "csv" }), 406),
    ] {
        let (status, body) = server.post("/api/v1/sql", &query);
        assert_eq!(status, expected, "{query}: {body}");
        let problem: Value = serde_json::from_str(&body).expect("a problem is JSON");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }
    for (path, expected) in [
        ("/api/v1/pose/history", 400),
        ("/api/v1/pose/history?start_time=yesterday&end_time=2200-01-01T00:00:00Z", 400),
        ("/nowhere", 404),
    ] {
        assert_eq!(server.get(path).0, expected, "{path}");
    }
    assert_eq!(server.get("/api/v1/system/health").0, 200, "it is still there");
}

/// `fresnel tap` prints records of a running stream; an unknown stream is an error.
pub(crate) fn records_are_seen_while_they_flow() {
    let (directory, server) = start();
    let url = format!("http://{}", server.address);
    for (stream, kind) in [("room", "csi"), ("room.truth", "pose"), ("zones", "occupancy")] {
        let line = process::first_line(directory.path(), &["tap", stream, &url]);
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(record["record"], kind, "{line}");
    }
    let said = process::fail(directory.path(), &["tap", "nowhere", &url], 1);
    assert!(said.contains("expected one of") && said.contains("room.truth"), "{said}");
}

/// The API and `fresnel top` report the cost and the lag of each component, for programs and for people.
pub(crate) fn its_components_tell_what_they_cost() {
    let (directory, server) = start();
    let look = || -> Value {
        let (status, body) = server.get("/api/v1/system/performance");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let works = |load: &Value| load["busy_seconds"].as_f64() > Some(0.0);
    let begun = |told: &Value| {
        let components = &told["components"];
        let all = ["room", "pose", "zones", "history"].iter().all(|name| works(&components[*name]));
        let sent = components["room"]["sent"].as_u64() > Some(0);
        let lags = |name: &&str| components[*name]["lag_seconds"].is_f64();
        all && sent && ["room", "pose", "zones", "history"].iter().all(lags)
    };
    let mut told = look();
    while !begun(&told) {
        told = look();
    }
    assert!(told["components"]["room"]["records"].as_u64() > Some(0), "{told}");
    assert!(told["held_by"].is_string(), "{told}");
    assert!(server.get("/metrics").1.contains("fresnel_lag_seconds{component=\"history\"}"));
    let shown = succeed(directory.path(), &["top", &format!("http://{}", server.address)]);
    assert!(shown.lines().any(|line| line.starts_with("pose ") && line.contains(" % ")), "{shown}");
}
