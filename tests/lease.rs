//! A pipeline has one run at a time: a second start is refused, stands by or takes over. In each case, the
//! output is that of one uninterrupted run.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::recovery::{PIPELINE, assert_same, directory, uninterrupted};
use crate::support::port;
use crate::support::postgres::{LosesReplies, Postgres};
use crate::support::process::{self, Server};

const RUN: [&str; 4] = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
/// The exit code of a start that is refused, and of a run that was taken over.
const ELSEWHERE: i32 = 75;

/// Waits until a run has written more output.
fn wait_for_output(server: &mut Server, directory: &Path) {
    let lines = directory.join("out.jsonl");
    let n_bytes = || fs::metadata(&lines).map_or(0, |metadata| metadata.len());
    let before = n_bytes();
    server.wait_until(|| n_bytes() > before);
}

/// The error names the first run, which continues undisturbed. A supervisor does not retry.
pub(crate) fn a_second_start_is_refused() {
    let expected = uninterrupted();
    let directory = directory("3.0");
    let path = directory.path();
    let mut first = Server::start(path, &RUN);
    wait_for_output(&mut first, path);
    for arguments in [&["run", "flat.toml"][..], &["run", "flat.toml", "--supervise"]] {
        let said = process::fail(path, arguments, ELSEWHERE);
        assert!(said.contains(&format!("process {} on", first.pid())), "{said}");
        assert!(said.contains("--take-over") && said.contains("--standby"), "{said}");
        assert!(!said.contains("starting it again"), "{said}");
    }
    let (code, said) = first.wait();
    assert_eq!(code, Some(0), "{said}");
    assert_same(path, &expected);
}

/// A suspended run loses its lease to a second start, which then fails. The first run resumes and loses
/// nothing.
pub(crate) fn a_start_that_fails_costs_an_earlier_run_nothing() {
    let expected = uninterrupted();
    let directory = directory("4.0");
    let path = directory.path();
    let mut first = Server::start(path, &RUN);
    wait_for_output(&mut first, path);
    let (capture, away) = (path.join("capture.dat"), path.join("away.dat"));
    fs::rename(&capture, &away).expect("it is there");
    let mut said = "database is locked".to_owned();
    // A run that is suspended during a commit holds the file's lock, which prevents a start.
    while said.contains("database is locked") {
        first.signal("CONT");
        first.signal("STOP");
        // The second start opens its sinks before it fails to open its source.
        said = process::fail(path, &["run", "flat.toml"], 1);
    }
    assert!(said.contains("capture.dat"), "{said}");
    fs::rename(&away, &capture).expect("it is there");
    first.signal("CONT");
    let (code, said) = first.wait();
    assert_eq!(code, Some(0), "{said}");
    assert_same(path, &expected);
}

/// A standby starts when the first run is killed, and when it is stopped.
pub(crate) fn a_standby_starts_when_the_first_has_ended() {
    let expected = uninterrupted();
    for signal in ["KILL", "TERM"] {
        let directory = directory("4.0");
        let path = directory.path();
        let mut first = Server::start(path, &RUN);
        wait_for_output(&mut first, path);
        let mut standby = Server::start_silent(path, &["run", "flat.toml", "--standby"]);
        standby.wait_for_words(&["alive elsewhere"]);
        wait_for_output(&mut first, path);
        first.signal(signal);
        let (code, said) = first.wait();
        assert_eq!(code, (signal == "TERM").then_some(0), "{said}");
        let (code, said) = standby.wait();
        assert_eq!(code, Some(0), "{said}");
        assert_same(path, &expected);
    }
}

pub(crate) fn a_standby_can_be_stopped() {
    let directory = directory("4.0");
    let path = directory.path();
    let mut first = Server::start(path, &RUN);
    wait_for_output(&mut first, path);
    let mut standby = Server::start_silent(path, &["run", "flat.toml", "--standby"]);
    standby.wait_for_words(&["alive elsewhere"]);
    let (code, said) = standby.terminate();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped while waiting for another run"), "{said}");
    assert_eq!(first.terminate().0, Some(0));
}

/// On a takeover, the first run stops in order and releases its port, and its supervisor does not start it
/// again. The second run's supervisor starts that run again when it is killed.
pub(crate) fn a_take_over_hands_over_in_order() {
    let expected = uninterrupted();
    let directory = directory("4.0");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    let run = ["run", "flat.toml", "--supervise", "--listen", &address];
    let mut first = Server::start(path, &run);
    wait_for_output(&mut first, path);
    let mut second = Server::start(path, &[&run[..], &["--take-over"]].concat());
    let (code, said) = first.wait();
    assert_eq!(code, Some(ELSEWHERE), "{said}");
    assert!(said.contains("laptop: ") && said.contains("handed over to process"), "{said}");
    assert!(!said.contains("starting it again"), "{said}");
    wait_for_output(&mut second, path);
    second.kill_child();
    let (code, said) = second.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("starting it again"), "{said}");
    assert_same(path, &expected);
}

/// Returns a folder with the pipeline and its capture; a server stores the checkpoints.
fn directory_with_store(store: &str, speed: &str) -> tempfile::TempDir {
    let directory = directory(speed);
    let checkpoint = format!("checkpoint = {{ store = \"{store}\",");
    let text = PIPELINE.replace("checkpoint = {", &checkpoint).replace("SPEED", speed);
    fs::write(directory.path().join("flat.toml"), text).expect("room");
    directory
}

/// The store commits checkpoints, but its replies are lost. The run finds each checkpoint and makes it only
/// once.
pub(crate) fn a_lost_reply_of_the_store_is_survived() {
    let expected = uninterrupted();
    let postgres = Postgres::start();
    let proxy = LosesReplies::start(&postgres);
    let directory = directory_with_store(&proxy.url(), "10.0");
    process::succeed(directory.path(), &["run", "flat.toml"]);
    assert!(proxy.n_lost() > 1, "{} replies were lost", proxy.n_lost());
    assert_same(directory.path(), &expected);
}

/// While the store is unreachable, the run continues and reports the outage. It makes its checkpoints later.
pub(crate) fn an_outage_of_the_store_is_waited_for() {
    let expected = uninterrupted();
    let mut postgres = Postgres::start();
    let directory = directory_with_store(&postgres.url(), "2.0");
    let path = directory.path();
    let mut server = Server::start(path, &RUN);
    wait_for_output(&mut server, path);
    let health = |server: &Server| {
        let (code, health) = server.get("/api/v1/system/health");
        assert_eq!(code, 200, "{health}");
        serde_json::from_str::<Value>(&health).expect("JSON")
    };
    assert_eq!(health(&server)["components"]["laptop"]["state"], "running");
    postgres.stop();
    let outage = loop {
        let health = health(&server);
        if health["components"]["checkpoints"]["state"] == "outage" {
            break health;
        }
    };
    assert_eq!(outage["status"], "degraded", "{outage}");
    assert!(outage["components"]["checkpoints"]["since"].is_string(), "{outage}");
    postgres.restart();
    while health(&server)["status"] != "healthy" {}
    let (code, said) = server.wait();
    assert_eq!(code, Some(0), "{said}");
    assert_same(path, &expected);
}
