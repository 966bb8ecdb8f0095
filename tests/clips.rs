//! People in clips whose motion is known: those of a camera, and of a camera and WiFi in one room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{figures, lines, models, process, wait};

const ROOM: &str = include_str!("../pipelines/scenes/flat.toml");
const CAMERA: &str = include_str!("../pipelines/camera.toml");
const CAMERA_AND_CSI: &str = include_str!("../pipelines/camera_and_csi.toml");
const API: &str = "[api]\nlisten = \"127.0.0.1:8080\"\nauth = \"off\"\n";
/// True poses a second.
const RATE: u32 = 10;
const DURATION_S: u32 = 20;
/// People are shown once their tracks are confirmed.
const WARM_UP_NS: i64 = 4_000_000_000;
const STARTS_AT_S: u32 = 1000;

const CLIP: &str = "hall.mkv";
/// A clip of which no other test has one.
const KILLED: &str = "clip-of-a-killed-run.mkv";

/// Two people who walk side by side, each in one half of the picture.
const APART: &str = r"
[[people]]
starts_at_m = [1.0, 2.0]
height_m = 1.75
speed_m_s = 0.8
script = [{ walk_to = [2.6, 2.0] }, { walk_to = [1.0, 2.0] }]

[[people]]
starts_at_m = [5.0, 3.2]
height_m = 1.65
speed_m_s = 0.8
script = [{ walk_to = [3.4, 3.2] }, { walk_to = [5.0, 3.2] }]
";

/// Two people who walk to and fro, and pass each other.
const CROSSING: &str = r"
[[people]]
starts_at_m = [1.5, 1.4]
height_m = 1.75
speed_m_s = 0.8
script = [{ walk_to = [4.5, 1.4] }, { walk_to = [1.5, 1.4] }]

[[people]]
starts_at_m = [4.5, 3.4]
height_m = 1.65
speed_m_s = 0.8
script = [{ walk_to = [1.5, 3.4] }, { walk_to = [4.5, 3.4] }]
";

/// Where each person is, by id, at a time.
type Places = BTreeMap<String, [f64; 2]>;

fn places(frame: &Value) -> Places {
    let persons = frame["persons"].as_array().expect("a list").iter();
    let place = |person: &Value| {
        let metres = |axis: &str| person["position"][axis].as_f64().expect("a position");
        (person["id"].as_str().expect("an id").to_owned(), [metres("x_m"), metres("y_m")])
    };
    persons.map(place).collect()
}

fn time_ns(frame: &Value) -> i64 {
    frame["captured_at_ns"].as_i64().expect("a time")
}

/// Simulates people in the room of the demo. Returns their true poses.
fn simulate(folder: &Path, people: &str) -> Vec<Value> {
    let (room, _) = ROOM.split_once("[[people]]").expect("the room has people");
    fs::write(folder.join("scene.toml"), format!("{room}{people}")).expect("room");
    let pipeline = format!(
        "name = \"truth\"\ncheckpoint = {{ store = \"truth.db\" }}\n\
         [sources.room]\ntype = \"simulate\"\nscene = \"scene.toml\"\nduration = \"{DURATION_S}s\"\n\
         starts_at_s = {STARTS_AT_S}\n\
         [sinks.lines]\ntype = \"json_lines\"\ninputs = [\"room.truth\"]\npath = \"truth.jsonl\"\n"
    );
    fs::write(folder.join("truth.toml"), pipeline).expect("room");
    process::succeed(folder, &["run", "truth.toml"]);
    lines::records(&folder.join("truth.jsonl"))
}

/// Returns the poses as the camera would see them if something hid the second person from the 8th to the 12th second.
fn with_hidden_person(truth: &[Value]) -> Vec<Value> {
    let mut seen = truth.to_vec();
    for frame in &mut seen[80..120] {
        frame["persons"].as_array_mut().expect("a list").truncate(1);
    }
    seen
}

/// Runs a pipeline over the clip and the simulated room, with as many workers. Returns the text of its people.
fn run(folder: &Path, pipeline: &str, workers: &str) -> String {
    let starts = format!("starts_at_s = {STARTS_AT_S}");
    let simulated = format!("speed = \"full\"\nduration = \"{DURATION_S}s\"\n{starts}");
    let clip = format!("url = {CLIP:?}\n{starts}");
    let models = format!("type = \"estimate_pose\"\nmodels = {}", json!(models::folder()));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/flat.safetensors");
    let (before_live, _) = pipeline.split_once("[sinks.live]").expect("it has a page");
    let (_, history) = pipeline.split_once("[sinks.history]").expect("it has a history");
    let sinks = "[sinks.lines]\ntype = \"json_lines\"\ninputs = [\"zones.people\"]\npath = \"people.jsonl\"\n";
    let pipeline = before_live
        .replace(API, "")
        .replace("url = \"rtsp://camera.local:554/stream1\"", &clip)
        .replace("type = \"estimate_pose\"", &models)
        .replace("pipelines/scenes/flat.toml", "scene.toml")
        .replace("speed = \"recorded\"", &simulated)
        .replace("models/flat.safetensors", &model.to_string_lossy());
    for output in ["history", "people.jsonl", "people.jsonl.upper", "fresnel.db"] {
        let path = folder.join(output);
        // The first run has none of them.
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let pipeline = format!("{pipeline}\n[sinks.history]{history}\n{sinks}");
    fs::write(folder.join("people.toml"), pipeline).expect("room");
    process::succeed(folder, &["run", "--workers", workers, "people.toml"]);
    fs::read_to_string(folder.join("people.jsonl")).expect("a file")
}

/// How well people were followed.
#[derive(Debug)]
struct Score {
    /// Share of the frames with the right number of people.
    right_counts: f64,
    n_ids: usize,
    /// Changes of the id of a true person.
    n_switches: usize,
    median_error_m: f64,
}

fn score(truth: &[Value], people: &str) -> Score {
    let frames: Vec<Value> =
        people.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let begin_ns = time_ns(&frames[0]) + WARM_UP_NS;
    let (mut right, mut n_frames, mut n_switches) = (0, 0, 0);
    let (mut ids, mut errors_m) = (BTreeSet::new(), Vec::new());
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| time_ns(frame) >= begin_ns) {
        let at_ns = time_ns(frame);
        let nearest = truth.iter().min_by_key(|it| time_ns(it).abs_diff(at_ns)).expect("a frame");
        let (found, expected) = (places(frame), places(nearest));
        n_frames += 1;
        right += usize::from(found.len() == expected.len());
        ids.extend(found.keys().cloned());
        for (id, at_m) in &found {
            let distance_m = |it: &&[f64; 2]| (it[0] - at_m[0]).hypot(it[1] - at_m[1]);
            let (person, true_m) = expected
                .iter()
                .min_by(|a, b| distance_m(&a.1).total_cmp(&distance_m(&b.1)))
                .expect("somebody is there");
            errors_m.push(distance_m(&true_m));
            let before = last.insert(person.clone(), id.clone());
            n_switches += usize::from(before.is_some_and(|before| before != *id));
        }
    }
    errors_m.sort_by(f64::total_cmp);
    Score {
        right_counts: f64::from(u32::try_from(right).expect("few")) / f64::from(n_frames),
        n_ids: ids.len(),
        n_switches,
        median_error_m: errors_m[errors_m.len() / 2],
    }
}

/// `pose.json` is the same on every run, for any number of workers, and after a run was killed five times.
pub(crate) fn detections_do_not_depend_on_workers_and_kills() {
    let folder = tempfile::tempdir().expect("room");
    let truth = simulate(folder.path(), APART);
    figures::film(folder.path(), KILLED, &truth, RATE);
    let detect = |output: &'static str, workers: &'static str| {
        let clip = ["detect", "--video", KILLED, "--pose-model", "movenet-lightning"];
        [&clip[..], &["--output", output, "--workers", workers]].concat()
    };
    let pose = |output: &str| {
        fs::read_to_string(folder.path().join(output).join("pose.json")).expect("a file")
    };
    let n_pictures = || {
        let lines = fs::read_to_string(folder.path().join("killed/records/people.jsonl"));
        lines.unwrap_or_default().lines().count()
    };
    for n_wanted in [20, 50, 80, 110, 140] {
        let mut run = process::Server::start_silent(folder.path(), &detect("killed", "2"));
        run.wait_until(|| n_pictures() >= n_wanted);
        assert!(n_wanted > 20 || is_read(KILLED), "most of the clip is still to be decoded");
        run.signal("KILL");
        run.wait_for_signal();
    }
    wait::until("the decoders end with the program", || !is_read(KILLED));
    assert!(n_pictures() < 200, "the last run was killed, too");
    process::succeed(folder.path(), &detect("killed", "2"));
    for (output, workers) in [("one", "1"), ("again", "1"), ("four", "4")] {
        process::succeed(folder.path(), &detect(output, workers));
        assert!(pose(output) == pose("killed"), "{output}: pose.json differs");
    }
    let pose: Value = serde_json::from_str(&pose("one")).expect("JSON");
    let frames = pose["frames"].as_array().expect("a list");
    assert_eq!(frames.len(), 200);
    let n_people = frames.iter().map(|frame| frame["persons"].as_array().expect("a list").len());
    assert!(n_people.sum::<usize>() > 300, "two people are there");
}

/// True if ffmpeg reads a file of this name.
fn is_read(name: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("Linux");
    let commands = processes.flatten().filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    let mut commands = commands.map(|command| String::from_utf8_lossy(&command).into_owned());
    commands.any(|command| command.starts_with("ffmpeg") && command.contains(name))
}

pub(crate) fn a_camera_follows_people() {
    let folder = tempfile::tempdir().expect("room");
    let truth = simulate(folder.path(), APART);
    figures::film(folder.path(), CLIP, &truth, RATE);
    let [people, again] = ["1", "4"].map(|workers| run(folder.path(), CAMERA, workers));
    assert!(people == again, "the output depends on the workers");
    let score = score(&truth, &people);
    assert!(score.right_counts > 0.95, "{score:?}");
    assert!(score.n_ids == 2 && score.n_switches == 0, "{score:?}");
    assert!(score.median_error_m < 0.2, "{score:?}");
    assert!(folder.path().join("history/poses/_delta_log").is_dir());
}

/// WiFi keeps the track of a person whom the camera cannot see for some seconds.
pub(crate) fn a_camera_and_wifi_follow_people() {
    let folder = tempfile::tempdir().expect("room");
    let truth = simulate(folder.path(), CROSSING);
    figures::film(folder.path(), CLIP, &with_hidden_person(&truth), RATE);
    let runs = ["1", "2", "4"].map(|workers| run(folder.path(), CAMERA_AND_CSI, workers));
    let score = score(&truth, &runs[0]);
    assert!(score.right_counts > 0.95, "{score:?}");
    assert!(score.n_ids == 2 && score.n_switches == 0, "{score:?}");
    assert!(score.median_error_m < 0.2, "{score:?}");
    assert!(runs.iter().all(|run| *run == runs[0]), "the output depends on the workers");
    let frames: Vec<Value> =
        runs[0].lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let both = "flat + nanodet-g and movenet-thunder";
    let (of_both, others): (Vec<_>, Vec<_>) =
        frames.iter().partition(|frame| frame["estimator"]["name"] == both);
    assert!(of_both.len() > 5 * others.len(), "{} and {}", of_both.len(), others.len());
    assert!(of_both.iter().all(|frame| frame["source_kind"] == "simulated"));
}
