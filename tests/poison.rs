//! Implausible records: each is an error with its reason, and the run continues, also after a restart.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::{lines, port, process};

const ARGUMENTS: [&str; 4] = ["run", "poison.toml", "--listen", "127.0.0.1:0"];

/// Numbered rows with a time of their own.
const ROWS: &str = r#"
name = "poison"
checkpoint = { interval = "20ms", granule = "50ms" }

[sources.things]
type = "json"
transport = TRANSPORT
fields = { at_ms = "int", n = "int" }
time = { field = "at_ms" }

[sinks.lines]
type = "json_lines"
inputs = ["things"]
path = "out.jsonl"

[sinks.errors]
type = "json_lines"
inputs = ["things.errors"]
path = "errors.jsonl"
"#;

#[expect(clippy::disallowed_methods, reason = "devices have clocks")]
fn now_ms() -> i64 {
    let since_epoch =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    i64::try_from(since_epoch.as_millis()).expect("it is not that late")
}

fn write(directory: &Path, pipeline: &str) {
    fs::write(directory.join("poison.toml"), pipeline).expect("room");
}

fn column(directory: &Path, file: &str, name: &str) -> Vec<Value> {
    let rows = lines::records(&directory.join(file));
    rows.into_iter().map(|mut row| row[name].take()).collect()
}

fn numbers(directory: &Path) -> Vec<i64> {
    column(directory, "out.jsonl", "n").iter().filter_map(Value::as_i64).collect()
}

/// A time far ahead does not advance the watermark. No other row is delayed or lost, also after a restart.
pub(crate) fn a_time_far_ahead_is_an_error() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    write(path, &ROWS.replace("TRANSPORT", &format!("{{ udp = \"{address}\" }}")));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (mut n_sent, mut poison) = (0, Vec::new());
    for far_ms in [9_000_000_000_000, now_ms() + 86_400_000, i64::MAX] {
        let mut server = process::Server::start(path, &ARGUMENTS);
        let mut send = |at_ms: i64| {
            let row = json!({ "at_ms": at_ms, "n": n_sent }).to_string();
            socket.send_to(row.as_bytes(), &address).expect("it is sent");
            n_sent += 1;
            n_sent - 1
        };
        send(now_ms());
        poison.push(send(far_ms));
        let next = send(now_ms());
        // A tick is written when a later one begins.
        server.wait_until(|| {
            send(now_ms());
            numbers(path).last() >= Some(&next)
        });
        assert_eq!(server.terminate().0, Some(0));
    }
    assert_eq!(column(path, "errors.jsonl", "reason"), vec![json!("time too far ahead"); 3]);
    // A stop leaves the last tick to a later run.
    let found = numbers(path);
    let last = *found.last().expect("there are some");
    assert!(found.into_iter().eq((0..=last).filter(|n| !poison.contains(n))), "lost or doubled");
}

/// A device's clock is ahead for a while, within the limit of the source. Rows with the right time are late
/// then, but each is written once, also after a restart.
pub(crate) fn a_clock_that_was_ahead_stops_nobody() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    let transport = format!("{{ udp = \"{address}\" }}\nmax_ahead = \"2h\"");
    write(path, &ROWS.replace("TRANSPORT", &transport));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut n_sent = 0;
    let mut send = |at_ms: i64| {
        let row = json!({ "at_ms": at_ms, "n": n_sent }).to_string();
        socket.send_to(row.as_bytes(), &address).expect("it is sent");
        n_sent += 1;
    };
    let mut server = process::Server::start(path, &ARGUMENTS);
    send(now_ms() + 3_600_000);
    for round in 1..=2 {
        // Late rows are written while more rows are sent.
        server.wait_until(|| {
            send(now_ms());
            numbers(path).len() > 20 * round
        });
        drop(server);
        server = process::Server::start(path, &ARGUMENTS);
    }
    let (mut found, n_found) = (numbers(path), numbers(path).len());
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), n_found, "each comes once");
}

/// A field that is declared later becomes a column of an existing history table.
pub(crate) fn a_field_that_is_added_is_a_column() {
    const HISTORY: &str = "[sinks.history]\ntype = \"delta\"\ninputs = [\"things\"]\n\
                           path = \"history\"\ncommit_interval = \"20ms\"\n";
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    let transport = ROWS.replace("TRANSPORT", &format!("{{ udp = \"{address}\" }}"));
    let pipeline = format!("{transport}\n{HISTORY}");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let send = || {
        let row = json!({ "at_ms": now_ms(), "n": 1, "more": "text" }).to_string();
        socket.send_to(row.as_bytes(), &address).expect("it is sent");
    };
    let count = |sql: &str| process::succeed(path, &["sql", "--format", "csv", sql]);
    let n_lines = || numbers(path).len();
    write(path, &pipeline);
    let mut server = process::Server::start(path, &ARGUMENTS);
    server.wait_until(|| {
        send();
        n_lines() > 20
    });
    assert_eq!(server.terminate().0, Some(0));
    let before = count("SELECT count(*) AS n FROM things");
    write(path, &pipeline.replace("n = \"int\"", "n = \"int\", more = \"text\""));
    let arguments = [&ARGUMENTS[..], &["--drop-state", "things"]].concat();
    let mut server = process::Server::start(path, &arguments);
    server.wait_until(|| {
        send();
        n_lines() > 60
    });
    assert_eq!(server.terminate().0, Some(0));
    assert_eq!(count("SELECT count(*) AS n FROM things WHERE more IS NULL"), before);
    assert_ne!(count("SELECT count(*) AS n FROM things WHERE more = 'text'"), "n\n0\n");
}

/// A time far ahead in a file is an error, because a file contains no rows from after it was written.
pub(crate) fn a_time_far_ahead_in_a_file_is_an_error() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    write(path, &ROWS.replace("TRANSPORT", "{ file = \"in.jsonl\" }\nspeed = 50.0"));
    let row = |n: i64| {
        let at_ms = if n == 10 { 9_000_000_000_000 } else { 1_767_225_600_000 + n * 10 };
        format!("{}\n", json!({ "at_ms": at_ms, "n": n }))
    };
    fs::write(path.join("in.jsonl"), (0..100).map(row).collect::<String>()).expect("room");
    process::succeed(path, &["run", "poison.toml"]);
    assert_eq!(column(path, "errors.jsonl", "reason"), [json!("time too far ahead")]);
    assert!(numbers(path).into_iter().eq((0..100).filter(|n| *n != 10)));
}

/// Starts a registry without schemas, and returns its URL.
fn empty_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let body = r#"{"error_code":40403,"message":"Schema not found"}"#;
            let answer = format!(
                "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // The client may be gone.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// A message whose schema is unknown to the registry is an error. While the registry is unreachable, the
/// message waits.
pub(crate) fn an_unknown_schema_is_an_error() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    let pipeline = |registry: &str| {
        let things = format!(
            "type = \"poses\"\nformat = {{ avro = {{ registry = \"{registry}\" }} }}\n\
             transport = {{ udp = \"{address}\" }}\n"
        );
        let (head, tail) = ROWS.split_once("type = \"json\"").expect("it has one");
        let (_, tail) = tail.split_once("[sinks.lines]").expect("it has one");
        format!("{head}{things}\n[sinks.lines]{tail}")
    };
    // No server listens there.
    write(path, &pipeline(&format!("http://127.0.0.1:{}", port::free())));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut server = process::Server::start(path, &ARGUMENTS);
    socket.send_to(b"\0\0\0\0\x63garbage", &address).expect("it is sent");
    server.wait_for_words(&["trying again", "schema 99"]);
    assert_eq!(server.terminate().0, Some(0), "an outage is no failure");
    write(path, &pipeline(&empty_registry()));
    let mut server = process::Server::start(path, &ARGUMENTS);
    server.wait_for_metric(
        "fresnel_dropped_total{component=\"things\",reason=\"schema unknown to the registry\"} 1",
    );
    assert_eq!(server.terminate().0, Some(0));
}
