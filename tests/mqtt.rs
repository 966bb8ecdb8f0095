//! Records over MQTT: each is written once, at whatever moment a run is killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::mosquitto::Mosquitto;
use crate::support::{lines, process};

const PIPELINE: &str = r#"
name = "home"
checkpoint = { interval = "20ms", granule = "50ms" }

[sources.things]
type = "json"
transport = { mqtt = { host = "127.0.0.1", port = PORT, topic = "home/+/seen" } }
fields = { at_ms = "int", n = "int" }
time = { field = "at_ms" }

[sinks.lines]
type = "json_lines"
inputs = ["things"]
path = "out.jsonl"
"#;

/// Publishes numbered messages.
fn publish(mosquitto: &Mosquitto, numbers: std::ops::Range<u64>) {
    mosquitto.publish(numbers.map(|number| {
        let payload = format!("{{\"at_ms\":{},\"n\":{number}}}", 1_767_225_600_000 + number * 10);
        (format!("home/{}/seen", number % 3), payload)
    }));
}

/// Returns the numbers that were written, sorted.
fn numbers(directory: &Path) -> Vec<u64> {
    let rows = lines::records(&directory.join("out.jsonl"));
    let mut numbers: Vec<_> = rows.iter().map(|row| row["n"].as_u64().expect("one")).collect();
    numbers.sort_unstable();
    numbers
}

/// The broker keeps messages that arrive while no run is on, or that a killed run has not acknowledged. The
/// source recognises messages that the broker sends again.
pub(crate) fn a_killed_run_loses_and_doubles_no_message() {
    const KILLS: u64 = 10;
    let mosquitto = Mosquitto::start();
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("PORT", &mosquitto.port.to_string());
    fs::write(directory.path().join("home.toml"), pipeline).expect("room");
    let arguments = ["run", "home.toml", "--listen", "127.0.0.1:0"];
    // The first run creates the session for which the broker keeps messages.
    let mut server = process::Server::start(directory.path(), &arguments);
    publish(&mosquitto, 0..1);
    server.wait_for_metric("fresnel_records_total{component=\"things\"} 1");
    drop(server);
    let mut n_sent = 1;
    for nth in 0..KILLS {
        publish(&mosquitto, n_sent..n_sent + 40);
        n_sent += 40;
        let pause = Duration::from_millis(nth * 37 % 300);
        process::kill_after(directory.path(), &arguments, pause);
    }
    let mut server = process::Server::start(directory.path(), &arguments);
    // A record closes the ticks before its own, not its own.
    publish(&mosquitto, n_sent..n_sent + 1);
    server.wait_until(|| numbers(directory.path()).last() >= Some(&(n_sent - 1)));
    assert_eq!(server.terminate().0, Some(0));
    assert!(numbers(directory.path()).into_iter().eq(0..n_sent), "lost or doubled");
}

/// The source acknowledges messages after a checkpoint contains them. Until then, the broker keeps them.
pub(crate) fn messages_are_acknowledged_behind_checkpoints() {
    const MESSAGES: u64 = 50;
    let mosquitto = Mosquitto::start();
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("PORT", &mosquitto.port.to_string());
    let write = |text: &str| fs::write(directory.path().join("home.toml"), text).expect("room");
    let arguments = ["run", "home.toml", "--listen", "127.0.0.1:0"];
    write(&pipeline.replace("20ms", "1h"));
    let mut server = process::Server::start(directory.path(), &arguments);
    publish(&mosquitto, 0..MESSAGES);
    server.wait_for_metric(&format!("fresnel_records_total{{component=\"things\"}} {MESSAGES}"));
    drop(server);
    let n_sent_again = || mosquitto.n_packets("Sending PUBLISH to fresnel-home-things (d1");
    let n_acknowledged = || mosquitto.n_packets("Received PUBACK from fresnel-home-things");
    assert_eq!((n_sent_again(), n_acknowledged()), (0, 0), "no checkpoint has any");
    write(&pipeline.replace("\"20ms\"", "\"20ms\", retention = 1"));
    let mut server = process::Server::start(directory.path(), &arguments);
    // A record closes the granules before its own.
    publish(&mosquitto, MESSAGES..MESSAGES + 10);
    server.wait_until(|| n_acknowledged() as u64 >= MESSAGES);
    assert_eq!(n_sent_again() as u64, MESSAGES);
    assert_eq!(server.terminate().0, Some(0));
    let acknowledged = numbers(directory.path()).into_iter().take_while(|it| *it < MESSAGES);
    assert!(acknowledged.eq(0..MESSAGES), "lost or doubled");
}

/// A run starts and reads all messages that the broker has kept, however many they are.
pub(crate) fn many_messages_are_waiting() {
    const MESSAGES: u64 = 3000;
    let mosquitto = Mosquitto::start();
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("PORT", &mosquitto.port.to_string());
    fs::write(directory.path().join("home.toml"), pipeline).expect("room");
    let arguments = ["run", "home.toml", "--listen", "127.0.0.1:0"];
    assert_eq!(process::Server::start(directory.path(), &arguments).terminate().0, Some(0));
    // A client queues a thousand at most.
    for first in (0..MESSAGES).step_by(500) {
        publish(&mosquitto, first..first + 500);
    }
    let mut server = process::Server::start(directory.path(), &arguments);
    server.wait_for_metric(&format!("fresnel_records_total{{component=\"things\"}} {MESSAGES}"));
    publish(&mosquitto, MESSAGES..MESSAGES + 1);
    server.wait_until(|| numbers(directory.path()).last() >= Some(&(MESSAGES - 1)));
    assert_eq!(server.terminate().0, Some(0));
    let found = numbers(directory.path());
    assert!(found.iter().copied().take(MESSAGES as usize).eq(0..MESSAGES), "lost or doubled");
}
