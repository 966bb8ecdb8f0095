//! Zones that change while a pipeline runs: each change takes effect at a tick. A replay repeats it at that
//! tick, whenever the run was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::golden;
use crate::support::postgres::Postgres;
use crate::support::process::{self, Server};

/// Two people who walk through a flat at twice their speed.
const PIPELINE: &str = r#"
name = "flat"
checkpoint = { interval = "20ms", granule = "200ms", store = "STORE" }
api = { listen = "127.0.0.1:0", auth = "off" }

[sources.room]
type = "simulate"
scene = "pipelines/scenes/flat.toml"
starts_at_s = 1767225600
duration = "16s"
speed = SPEED

[operators.zones]
type = "zones"
inputs = ["room.truth"]

[operators.zones.zones]
west = { coordinates = [[0.0, 0.0], [3.0, 0.0], [3.0, 4.8], [0.0, 4.8]] }

[sinks.lines]
type = "json_lines"
inputs = ["zones", "zones.people", "zones.events"]
path = "out.jsonl"
"#;

/// Motion in the flat, while nobody is there.
const MOTION: &str = r#"
[operators.motion]
type = "motion"
inputs = ["room"]

[sinks.lines]
type = "json_lines"
inputs = ["motion"]
path = "out.jsonl"

[sinks.live]
type = "live"
inputs = ["motion"]
"#;

const RUN: [&str; 2] = ["run", "flat.toml"];

pub(crate) fn a_zone_changes_at_a_tick_that_replays_repeat() {
    change_zones("store.db");
}

pub(crate) fn changes_in_postgres_do_the_same() {
    change_zones(&Postgres::start().url());
}

fn change_zones(store: &str) {
    let directory = golden::directory();
    let directory = directory.path();
    write(directory, "2.0", store);
    // Killed after the reply: the change is durable.
    let east = json!({ "coordinates": [[3.0, 0.0], [6.0, 0.0], [6.0, 4.8], [3.0, 4.8]] });
    let server = start(directory);
    let east_at = kept(server.put("/api/v1/config/zones/east", &east));
    server.signal("KILL");
    server.wait_for_signal();
    // Killed after the change was durable, but before the reply: the change is kept.
    let server = Server::start_failing(directory, &RUN, "after change/zones:1");
    let everywhere = json!({ "coordinates": [[0, 0], [6, 0], [6, 4.8], [0, 4.8]], "site": "flat" });
    assert!(server.put("/api/v1/config/zones/flat?operator=zones", &everywhere).is_none());
    server.wait_for_signal();
    // Killed before the change was durable: the change is lost.
    let server = Server::start_failing(directory, &RUN, "before change/zones:1");
    assert!(server.delete("/api/v1/config/zones/flat").is_none());
    server.wait_for_signal();
    let server = start(directory);
    let west_until = kept(server.delete("/api/v1/config/zones/west"));
    let (status, zones) = server.get("/api/v1/config/zones");
    let zones: Vec<Value> = serde_json::from_str(&zones).expect("JSON");
    let names: Vec<_> = zones.iter().filter_map(|zone| zone["name"].as_str()).collect();
    assert_eq!((status, names), (200, vec!["east", "flat"]));
    server.signal("KILL");
    server.wait_for_signal();

    write(directory, "\"full\"", store);
    process::succeed(directory, &[&RUN[..], &["--workers", "2"]].concat());
    let killed = fs::read_to_string(directory.join("out.jsonl")).expect("it was written");
    process::succeed(directory, &[&RUN[..], &["--fresh"]].concat());
    let replayed = fs::read_to_string(directory.join("out.jsonl")).expect("it was written");
    assert!(killed == replayed, "a replay repeats the changes");
    let occupied = occupied(&replayed);
    let times = |zone: &'static str| occupied.iter().filter(move |(name, ..)| name == zone);
    assert!(times("east").next().is_some_and(|(_, at_ms, _)| *at_ms >= east_at));
    assert!(times("flat").all(|(_, at_ms, _)| *at_ms >= east_at) && times("flat").count() > 0);
    let last = times("west").next_back().expect("somebody is there at first");
    assert!(last.1 <= west_until && (last.1 < west_until || last.2 == 0), "{last:?}");
}

pub(crate) fn changes_that_make_no_sense_are_refused() {
    let directory = golden::directory();
    write(directory.path(), "\"recorded\"", "store.db");
    let server = start(directory.path());
    let square = json!({ "coordinates": [[0, 0], [1, 0], [1, 1], [0, 1]] });
    let line = json!({ "coordinates": [[0, 0], [1, 0]] });
    for (path, body, expected) in [
        ("zones/bed", &line, 400),
        ("zones/bed", &json!({ "coordinates": [[0, 0], [1, 0], [1, 1e60]] }), 400),
        ("zones/bed", &json!({ "corners": [[0, 0], [1, 0], [1, 1]] }), 400),
        ("zones/bed?operator=room", &square, 404),
        ("zones/bed?operator=nobody", &square, 404),
    ] {
        let (status, body) =
            server.put(&format!("/api/v1/config/{path}"), body).expect("it answers");
        assert_eq!(status, expected, "{path}: {body}");
        let problem: Value = serde_json::from_str(&body).expect("a problem is JSON");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }
    let (status, body) = server.delete("/api/v1/config/zones/bed").expect("it answers");
    assert_eq!(status, 404, "{body}");
    let (status, body) = server.post("/api/v1/config/calibrations", &square);
    assert_eq!((status, body.contains("no body")), (400, true), "{body}");
    let (status, body) = server.post_nothing("/api/v1/config/calibrations");
    assert_eq!((status, body.contains("no `motion` operator")), (404, true), "{body}");
    assert_eq!(server.terminate().0, Some(0));
}

pub(crate) fn a_link_is_calibrated_again() {
    let directory = golden::directory();
    let directory = directory.path();
    let scene = fs::read_to_string(directory.join("pipelines/scenes/flat.toml")).expect("a scene");
    let (empty, _) = scene.split_once("[[people]]").expect("there are people");
    fs::write(directory.join("empty.toml"), empty).expect("room");
    let write = |speed: &str| {
        let pipeline = PIPELINE.replace("STORE", "store.db").replace("SPEED", speed);
        let (before_zones, _) = pipeline.split_once("[operators.zones]").expect("there are zones");
        let pipeline = before_zones.replace("pipelines/scenes/flat.toml", "empty.toml");
        fs::write(directory.join("flat.toml"), pipeline + MOTION).expect("room");
    };
    write("4.0");
    let mut server = Server::start(directory, &RUN);
    let lines = || fs::read_to_string(directory.join("out.jsonl")).unwrap_or_default();
    server.wait_until(|| calibrated(&lines()).len() == 4);
    for (link, expected) in [("%00", 404), ("", 404), ("east", 404), ("nobody/ap", 404)] {
        let path = format!("/api/v1/config/calibrations?link={link}");
        let (status, body) = server.post_nothing(&path);
        assert_eq!((status, body.contains("east/ap")), (expected, true), "{body}");
    }
    let again = server.post_nothing("/api/v1/config/calibrations?link=east/ap");
    let again_at_ms = kept(Some(again));
    // Killed after the reply: the request is durable.
    server.signal("KILL");
    server.wait_for_signal();
    write("\"full\"");
    process::succeed(directory, &[&RUN[..], &["--workers", "2"]].concat());
    let killed = lines();
    for (link, begins_at_ms) in calibrations(&killed) {
        let again = begins_at_ms.iter().filter(|at_ms| **at_ms >= again_at_ms).count();
        assert_eq!(again, usize::from(link == "east/ap"), "{link}: {begins_at_ms:?}");
    }
    assert_eq!(calibrated(&killed).len(), 4);
    process::succeed(directory, &[&RUN[..], &["--fresh"]].concat());
    assert!(killed == lines(), "a replay repeats the request");
}

/// The reports of links, in order: link, milliseconds, and the state of the calibration.
fn reports(lines: &str) -> Vec<(String, u64, String)> {
    // The last line may be incomplete.
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let reports = records.map(|it| {
        let at_ms = it["captured_at_ns"].as_u64().expect("a number") / 1_000_000;
        (text(&it["link"]), at_ms, text(&it["calibration"]))
    });
    reports.collect()
}

/// The links whose last report is calibrated.
fn calibrated(lines: &str) -> BTreeSet<String> {
    let mut links = BTreeSet::new();
    for (link, _, calibration) in reports(lines) {
        if calibration == "done" {
            links.insert(link);
        } else {
            links.remove(&link);
        }
    }
    links
}

/// The times at which each link was not calibrated any more.
fn calibrations(lines: &str) -> BTreeMap<String, Vec<u64>> {
    let (mut last, mut begins) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    for (link, at_ms, calibration) in reports(lines) {
        let is_done = calibration == "done";
        let was_done = last.insert(link.clone(), is_done).unwrap_or(false);
        begins.entry(link).or_default().extend((was_done && !is_done).then_some(at_ms));
    }
    begins
}

fn write(directory: &Path, speed: &str, store: &str) {
    let pipeline = PIPELINE.replace("SPEED", speed).replace("STORE", store);
    fs::write(directory.join("flat.toml"), pipeline).expect("room");
}

/// Starts the program, and waits until it has written more than before.
fn start(directory: &Path) -> Server {
    let mut server = Server::start(directory, &RUN);
    let written = || fs::metadata(directory.join("out.jsonl")).map_or(0, |file| file.len());
    let before = written();
    server.wait_until(|| written() > before);
    server
}

/// Returns the tick at which a change takes effect, in milliseconds.
fn kept(answer: Option<(u16, String)>) -> u64 {
    let (status, body) = answer.expect("it answers");
    assert_eq!(status, 200, "{body}");
    let kept: Value = serde_json::from_str(&body).expect("JSON");
    kept["takes_effect_at_ms"].as_u64().expect("a tick")
}

/// Returns zone, milliseconds and number of people of each change of occupancy.
fn occupied(lines: &str) -> Vec<(String, u64, u64)> {
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let occupancy = records.filter(|record| record["record"] == "occupancy");
    let number = |value: &Value| value.as_u64().expect("a number");
    let occupied = occupancy.map(|it| {
        let zone = it["zone"].as_str().expect("a name").to_owned();
        (zone, number(&it["since_ns"]) / 1_000_000, number(&it["count"]))
    });
    occupied.collect()
}
