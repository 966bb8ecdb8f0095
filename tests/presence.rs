//! Presence in simulated rooms: somebody who sits, stands or lies still, and nobody.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{lines, process};

const SCENE: &str = include_str!("../pipelines/scenes/flat.toml");
const PIPELINE: &str = r#"
name = "rooms"

[sources.room]
type = "simulate"
scene = "scene.toml"
starts_at_s = 0
duration = "3min"

[operators.motion]
type = "motion"
inputs = ["room"]
breathing = true

[operators.rooms]
type = "rooms"
inputs = ["motion"]

[sinks.lines]
type = "json_lines"
inputs = ["motion", "rooms"]
path = "out.jsonl"
"#;
/// The calibration, and a window of breathing.
const WARM_UP_NS: i64 = 40_000_000_000;

/// The shares of a room's and of its links' reports.
#[derive(Debug)]
struct Shares {
    /// Of each presence, by link; the room is "flat".
    by_link: BTreeMap<String, BTreeMap<String, f64>>,
    /// Reported rates of breathing.
    rates: Vec<f64>,
}

impl Shares {
    fn of(&self, link: &str, presence: &str) -> f64 {
        self.by_link[link].get(presence).copied().unwrap_or(0.0)
    }
}

/// Runs the pipeline with these people in the demo's room, and more noise.
fn run(people: &str, seed: u64, snr_db: u32) -> Shares {
    let directory = tempfile::tempdir().expect("room");
    let (empty, _) = SCENE.split_once("[[people]]").expect("there are people");
    let scene = empty
        .replace("seed = 1\n", &format!("seed = {seed}\n"))
        .replace("snr_db = 30", &format!("snr_db = {snr_db}"));
    fs::write(directory.path().join("scene.toml"), scene + people).expect("room");
    fs::write(directory.path().join("rooms.toml"), PIPELINE).expect("room");
    process::succeed(directory.path(), &["run", "rooms.toml"]);
    let (mut counts, mut rates) = (BTreeMap::<_, BTreeMap<_, f64>>::new(), Vec::new());
    for report in lines::records(&directory.path().join("out.jsonl")) {
        if report["captured_at_ns"].as_i64().expect("a number") < WARM_UP_NS {
            continue;
        }
        let text = |name: &str| report[name].as_str().expect("text").to_owned();
        let of_link = counts.entry(text("link")).or_default();
        *of_link.entry(text("presence")).or_default() += 1.0;
        rates.extend(report["breaths_per_minute"].as_f64());
    }
    for of_link in counts.values_mut() {
        let total: f64 = of_link.values().sum();
        for count in of_link.values_mut() {
            *count /= total;
        }
    }
    Shares { by_link: counts, rates }
}

fn person(at_m: [f32; 2], posture: &str, breaths_per_minute: f32) -> String {
    format!(
        "[[people]]\nstarts_at_m = {at_m:?}\nbreaths_per_minute = {breaths_per_minute:.1}\n\
         script = [{{ {posture} = 600 }}]\n"
    )
}

pub(crate) fn somebody_who_is_still_is_present() {
    let mut links = Vec::new();
    for (seed, (at_m, posture, rate)) in [
        ([2.0, 1.5], "sit_s", 15.0),
        ([4.5, 3.5], "sit_s", 12.0),
        ([3.0, 2.4], "stand_s", 18.0),
        ([1.0, 4.0], "lie_s", 10.0),
        ([5.0, 1.0], "lie_s", 14.0),
    ]
    .into_iter()
    .enumerate()
    {
        let shares = run(&person(at_m, posture, rate), seed as u64, 27);
        eprintln!("{posture} at {at_m:?}: {:?}", shares.by_link);
        assert!(shares.of("flat", "present") > 0.9, "{shares:?}");
        let right = shares.rates.iter().filter(|found| (*found - f64::from(rate)).abs() < 1.0);
        let share = right.count() as f64 / shares.rates.len() as f64;
        eprintln!("right rates: {share:.3} of {}", shares.rates.len());
        assert!(share > 0.95, "{share}");
        links.extend(shares.by_link.keys().map(|link| shares.of(link, "absent")));
    }
    eprintln!("absent by link: {links:?}");
}

pub(crate) fn an_empty_room_is_absent() {
    for (seed, snr_db) in [(1, 30), (2, 27), (3, 20)] {
        let shares = run("", seed, snr_db);
        eprintln!("{snr_db} dB: {:?}", shares.by_link);
        for link in shares.by_link.keys() {
            assert!(shares.of(link, "present") == 0.0, "{snr_db} dB, {link}: {shares:?}");
        }
        assert!(shares.of("flat", "absent") > 0.9, "{snr_db} dB: {shares:?}");
    }
}
