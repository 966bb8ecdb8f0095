//! Intel 5300 logs over TCP, from a growing file, and from a network interface: each frame is written once.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;

use serde_json::Value;

use crate::support::{capture, lines, pcap, port, process};

const PIPELINE: &str = r#"
name = "lab"
checkpoint = { interval = "20ms", granule = "50ms", retention = 1 }

[sources.laptop]
type = "csi"
format = "intel5300"
transport = TRANSPORT

[sinks.lines]
type = "json_lines"
inputs = ["laptop"]
path = "out.jsonl"
"#;
const ARGUMENTS: [&str; 4] = ["run", "lab.toml", "--listen", "127.0.0.1:0"];

fn directory(transport: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("TRANSPORT", transport);
    fs::write(directory.path().join("lab.toml"), pipeline).expect("room");
    directory
}

/// Returns the number of times that each sequence number was written.
fn counts(directory: &Path) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for (sequence, _) in lines::frames(&directory.join("out.jsonl")) {
        *counts.entry(sequence).or_default() += 1;
    }
    counts
}

fn all(each: usize) -> BTreeMap<u64, usize> {
    (0..capture::N_FRAMES as u64).map(|sequence| (sequence, each)).collect()
}

/// Sends bytes to a port, in pieces that do not match the records.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    for piece in bytes.chunks(1009) {
        stream.write_all(piece).expect("it reads");
    }
}

pub(crate) fn devices_connect_and_send() {
    let address = format!("127.0.0.1:{}", port::free());
    let directory = directory(&format!("{{ tcp = \"{address}\" }}"));
    let log = capture::intel5300();
    let (first, rest) = log.split_at(log.len() / 3 + 5);
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let connect = || TcpStream::connect(&address).expect("it listens");
    let mut devices = [connect(), connect()];
    // The cut is within a record, which is completed later, or reported as truncated.
    for part in [first, rest] {
        for device in &mut devices {
            send(device, part);
        }
    }
    let mut third = connect();
    send(&mut third, first);
    drop(third);
    server.wait_for_metric(
        "fresnel_dropped_total{component=\"laptop\",reason=\"truncated record\"} 1",
    );
    server.wait_until(|| counts(directory.path()).values().sum::<usize>() >= 7000);
    // Received records survive a kill of the process.
    server.signal("KILL");
    server.wait_for_signal();
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let mut device = connect();
    send(&mut device, rest);
    let n_first = capture::N_FRAMES / 3;
    let is_there = |(sequence, n_times): (u64, usize)| {
        // The last device begins in the middle of this record.
        n_times == if sequence == n_first as u64 { 2 } else { 3 }
    };
    server.wait_until(|| {
        counts(directory.path()).values().sum::<usize>() >= 3 * capture::N_FRAMES - 1
    });
    assert!(counts(directory.path()).into_iter().all(is_there));
    assert_eq!(server.terminate().0, Some(0));
    let batches = lines::records(&directory.path().join("out.jsonl"));
    assert!(batches.iter().all(|batch| batch["link"]["receiver"] == "127.0.0.1"));
}

/// A device whose lines mean nothing to its source does not go unnoticed.
pub(crate) fn a_source_that_drops_everything_is_reported() {
    let address = format!("127.0.0.1:{}", port::free());
    let directory = directory(&format!("{{ tcp = \"{address}\" }}"));
    let pipeline = PIPELINE.replace("TRANSPORT", &format!("{{ tcp = \"{address}\" }}"));
    let pipeline = pipeline.replace("intel5300", "esp32");
    fs::write(directory.path().join("lab.toml"), pipeline).expect("room");
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let health = |server: &process::Server| -> Value {
        serde_json::from_str(&server.get("/api/v1/system/health").1).expect("JSON")
    };
    assert_eq!(health(&server)["status"], "healthy");
    let mut device = TcpStream::connect(&address).expect("it listens");
    let server_address = server.address.clone();
    server.wait_until(|| {
        device.write_all(b"E (1234) wifi: no CSI here\nCSI_DATA,1,2\n").expect("it reads");
        let health = ureq::get(format!("http://{server_address}/api/v1/system/health")).call();
        let health = health.expect("it answers").into_body().read_to_string().expect("text");
        health.contains("\"dropping\"")
    });
    let health = health(&server);
    assert_eq!(health["status"], "degraded", "{health}");
    let laptop = &health["components"]["laptop"];
    assert!(laptop["error"].as_str().is_some_and(|error| error.contains("records were dropped")));
    assert!(laptop["since"].is_string(), "{health}");
}

pub(crate) fn a_file_is_followed() {
    let log = capture::intel5300();
    let (first, second) = log.split_at(log.len() / 2);
    let longer = [second, first, &log].concat();
    is_followed(&log, &longer, "laptop");
    is_followed(&in_pcap(&log, 1), &in_pcap(&longer, 2), "10.0.0.7");
}

/// Returns a log that has each frame `n_times`, as captured datagrams.
fn in_pcap(log: &[u8], n_times: usize) -> Vec<u8> {
    pcap::of(log.chunks(log.len() / (n_times * capture::N_FRAMES)))
}

/// Follows a file through a kill and two replacements; `longer` is another log with each frame twice.
fn is_followed(log: &[u8], longer: &[u8], receiver: &str) {
    let directory = directory("{ follow = \"growing.dat\" }");
    let path = directory.path().join("growing.dat");
    // The cut is in the middle of a record, after all frames that the test waits for.
    let (first, rest) = log.split_at(log.len() / 2 + 20);
    fs::write(&path, first).expect("room");
    let n_written = || counts(directory.path()).values().sum::<usize>();
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    server.wait_until(|| n_written() >= capture::N_FRAMES / 2);
    server.signal("KILL");
    server.wait_for_signal();
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let mut file = OpenOptions::new().append(true).open(&path).expect("it is there");
    for piece in rest.chunks(1009) {
        file.write_all(piece).expect("room");
    }
    server.wait_until(|| n_written() >= capture::N_FRAMES);
    assert!(counts(directory.path()) == all(1), "lost or doubled");
    // Another file replaces the first one.
    let next = directory.path().join("next.dat");
    fs::write(&next, log).expect("room");
    fs::rename(&next, &path).expect("room");
    server.wait_until(|| n_written() >= 2 * capture::N_FRAMES);
    assert_eq!(server.terminate().0, Some(0));
    assert!(counts(directory.path()) == all(2), "lost or doubled");
    // Another file replaces it while no run is on.
    fs::write(&path, longer).expect("room");
    let mut server = process::Server::start_silent(directory.path(), &ARGUMENTS);
    server.wait_for_words(&["was replaced while nothing followed it"]);
    server.wait_until(|| n_written() >= 4 * capture::N_FRAMES);
    assert_eq!(server.terminate().0, Some(0));
    assert!(counts(directory.path()) == all(4), "lost or doubled");
    let batches = lines::records(&directory.path().join("out.jsonl"));
    assert!(batches.iter().all(|batch| batch["link"]["receiver"] == receiver));
}

/// A device captures a network and sends the capture over TCP. Each frame is written once.
pub(crate) fn a_capture_is_sent_on() {
    let address = format!("127.0.0.1:{}", port::free());
    let directory = directory(&format!("{{ tcp = \"{address}\" }}"));
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let mut device = TcpStream::connect(&address).expect("it listens");
    send(&mut device, &in_pcap(&capture::intel5300(), 1));
    server.wait_until(|| counts(directory.path()).values().sum::<usize>() >= capture::N_FRAMES);
    assert_eq!(server.terminate().0, Some(0));
    assert!(counts(directory.path()) == all(1), "lost or doubled");
    let batches = lines::records(&directory.path().join("out.jsonl"));
    assert!(batches.iter().all(|batch| batch["link"]["receiver"] == "10.0.0.7"));
}

/// Returns true if the process may capture all traffic of an interface.
pub(crate) fn may_listen() -> bool {
    const CAP_NET_RAW: u32 = 13;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> CAP_NET_RAW & 1 == 1)
}

pub(crate) fn an_interface_is_heard() {
    let [free, other] = port::distinct();
    let directory = directory(&format!("{{ interface = {{ name = \"lo\", port = {free} }} }}"));
    let mut server = process::Server::start(directory.path(), &ARGUMENTS);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let log = capture::intel5300();
    let record = &log[..log.len() / capture::N_FRAMES];
    let n_taken = |n: usize| format!("fresnel_records_total{{component=\"laptop\"}} {n}");
    for nth in 1..=50 {
        // No socket is bound to the two ports. The source reads datagrams to the first one only.
        for to_port in [free, other] {
            let _ = socket.send_to(record, ("127.0.0.1", to_port));
        }
        server.wait_for_metric(&n_taken(nth));
    }
    assert_eq!(server.terminate().0, Some(0));
    let missing = PIPELINE.replace("TRANSPORT", "{ interface = { name = \"none0\" } }");
    fs::write(directory.path().join("lab.toml"), missing).expect("room");
    let said = process::fail(directory.path(), &[&ARGUMENTS[..], &["--fresh"]].concat(), 1);
    assert!(said.contains("\"none0\""), "{said}");
}
