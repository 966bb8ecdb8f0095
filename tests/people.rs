//! The people of the demo, against the truth of its simulated room: their number, their zones, and their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{lines, process};

const SCENE: &str = include_str!("../pipelines/scenes/flat.toml");
const DEMO: &str = include_str!("../pipelines/demo.toml");
/// Nobody is shown before this time: the window of the features, and the confirmation of tracks.
const WARM_UP_NS: i64 = 5_000_000_000;
const NS_PER_MIN: f64 = 60e9;
const SINKS: &str = r#"
[sinks.lines]
type = "json_lines"
inputs = ["zones.people", "zones", "activity", "activity.events", "room.truth"]
path = "people.jsonl"
"#;

/// A frame: its time, and the people in it.
struct Frame {
    at_ns: i64,
    persons: Vec<Seen>,
}

struct Seen {
    id: String,
    zone: Option<String>,
}

/// Runs the demo's pipeline at full speed. Returns its records.
fn run(scene: &str, minutes: u64) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("room");
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let simulated = format!("speed = \"full\"\nduration = \"{minutes}min\"\nstarts_at_s = 0");
    let (before_sinks, _) = DEMO.split_once("[sinks.history]").expect("the demo has a history");
    let pipeline = before_sinks
        .replace("[api]\nlisten = \"127.0.0.1:8080\"\nauth = \"off\"\n", "")
        .replace("pipelines/scenes/flat.toml", "scene.toml")
        .replace("speed = \"recorded\"", &simulated)
        .replace(
            "models/flat.safetensors",
            &room.join("models/flat.safetensors").to_string_lossy(),
        );
    fs::write(directory.path().join("scene.toml"), scene).expect("room");
    fs::write(directory.path().join("people.toml"), pipeline + SINKS).expect("room");
    process::succeed(directory.path(), &["run", "people.toml"]);
    lines::records(&directory.path().join("people.jsonl"))
}

/// Returns the frames of a source.
fn frames(records: &[Value], source: &str) -> Vec<Frame> {
    let of_source = records.iter().filter(|it| it["record"] == "pose" && it["source"] == source);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let frames = of_source.map(|frame| Frame {
        at_ns: frame["captured_at_ns"].as_i64().expect("a number"),
        persons: frame["persons"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|person| Seen {
                id: text(&person["id"]).expect("text"),
                zone: text(&person["zone"]).or_else(|| zone_at(&person["position"])),
            })
            .collect(),
    });
    frames.collect()
}

/// The zone of a true position, by the borders in the demo's pipeline.
fn zone_at(position: &Value) -> Option<String> {
    let [x_m, y_m] = ["x_m", "y_m"].map(|axis| position[axis].as_f64());
    let name = match (x_m? < 3.0, y_m? < 2.4) {
        (true, true) => "kitchen",
        (false, true) => "dining",
        (false, false) => "living",
        (true, false) => "bedroom",
    };
    Some(name.to_owned())
}

/// The scores of a run.
#[derive(Debug)]
struct Scores {
    right_number: f64,
    right_zones: f64,
    ids_per_person_minute: f64,
    median_life_s: f64,
    n_events_of_gone: usize,
}

fn scores(records: &[Value]) -> Scores {
    let (truth, seen) = (frames(records, "room.truth"), frames(records, "zones"));
    let truth: BTreeMap<_, _> = truth.iter().map(|frame| (frame.at_ns, frame)).collect();
    let (mut n, mut n_right_number, mut n_right_zones) = (0_u32, 0_u32, 0_u32);
    for frame in seen.iter().filter(|frame| frame.at_ns > WARM_UP_NS) {
        let (_, there) = truth.range(..=frame.at_ns).next_back().expect("there is a truth");
        let zones = |frame: &Frame| {
            let mut zones: Vec<_> = frame.persons.iter().map(|it| it.zone.clone()).collect();
            zones.sort();
            zones
        };
        n += 1;
        n_right_number += u32::from(frame.persons.len() == there.persons.len());
        n_right_zones += u32::from(zones(frame) == zones(there));
    }
    let mut lives = BTreeMap::<&str, (i64, i64)>::new();
    for (frame, person) in seen.iter().flat_map(|it| it.persons.iter().map(move |p| (it, p))) {
        let life = lives.entry(&person.id).or_insert((frame.at_ns, frame.at_ns));
        life.1 = frame.at_ns;
    }
    let mut lives_ns: Vec<_> = lives.values().map(|(from_ns, to_ns)| to_ns - from_ns).collect();
    lives_ns.sort_unstable();
    let person_minutes: f64 = truth
        .values()
        .zip(truth.keys().skip(1))
        .map(|(frame, next_ns)| {
            (next_ns - frame.at_ns) as f64 * frame.persons.len() as f64 / NS_PER_MIN
        })
        .sum();
    Scores {
        right_number: f64::from(n_right_number) / f64::from(n),
        right_zones: f64::from(n_right_zones) / f64::from(n),
        ids_per_person_minute: lives.len() as f64 / person_minutes,
        median_life_s: lives_ns[lives_ns.len() / 2] as f64 * 1e-9,
        n_events_of_gone: events_of_gone(records, &seen),
    }
}

/// Returns the number of activity events of people who are not in the frame at that time.
fn events_of_gone(records: &[Value], seen: &[Frame]) -> usize {
    let events = records.iter().filter(|it| it["record"] == "event");
    let mut events: Vec<_> = events.collect();
    events.retain(|event| event["type"] == "person.activity_detected");
    assert!(!events.is_empty(), "there are activities");
    let is_gone = |event: &&&Value| {
        let at_ns = event["occurred_at_ns"].as_i64().expect("a number");
        // A window does not contain its end.
        let n_before = seen.partition_point(|frame| frame.at_ns < at_ns);
        let there: BTreeSet<_> =
            seen[n_before - 1].persons.iter().map(|it| it.id.as_str()).collect();
        !there.contains(event["subject"].as_str().expect("text"))
    };
    events.iter().filter(is_gone).count()
}

/// The length of a simulation: minutes in a test, an hour in a soak.
fn minutes() -> u64 {
    if std::env::var_os("FRESNEL_SOAK").is_some() { 60 } else { 5 }
}

fn check(scene: &str, name: &str, least: f64) {
    let scores = scores(&run(scene, minutes()));
    eprintln!("{name}, {} minutes: {scores:.3?}", minutes());
    assert!(scores.right_number >= least && scores.right_zones >= least, "{name}: {scores:?}");
    assert_eq!(scores.n_events_of_gone, 0, "{name}: {scores:?}");
}

pub(crate) fn of_the_demo_keep_their_names() {
    let scores = scores(&run(SCENE, minutes()));
    eprintln!("the demo, {} minutes: {scores:.3?}", minutes());
    assert!(scores.right_number >= 0.95 && scores.right_zones >= 0.95, "{scores:?}");
    assert!(scores.median_life_s >= 60.0 && scores.ids_per_person_minute <= 1.2, "{scores:?}");
    assert_eq!(scores.n_events_of_gone, 0, "{scores:?}");
}

pub(crate) fn are_found_in_more_noise() {
    check(&SCENE.replace("snr_db = 30", "snr_db = 27"), "with 3 dB more noise", 0.90);
}

pub(crate) fn are_found_without_one_receiver() {
    for name in ["north", "east", "south", "west"] {
        let (before, after) =
            SCENE.split_once(&format!("[[receivers]]\nname = \"{name}\"")).expect("it is there");
        let (_, after) = after.split_once("\n\n").expect("something follows");
        check(&format!("{before}{after}"), &format!("without {name}"), 0.85);
    }
}
