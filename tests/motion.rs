//! Motion on real recordings of three chips: quiet rooms and rooms with somebody in them.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::{data, lines, npy, process};

const PIPELINE: &str = r#"
name = "room"

[sources.board]
type = "csi"
format = "esp32"
clock = "device"
transport = { file = "board.csv" }

[operators.motion]
type = "motion"
inputs = ["board"]

[sinks.lines]
type = "json_lines"
inputs = ["motion"]
path = "out.jsonl"
"#;

/// The quiet recording and the recording with motion of each session, by chip.
const SESSIONS: [(&str, &str, &str); 6] = [
    ("c3", "20260329_130303", "20260329_130321"),
    ("c3", "20260329_130411", "20260329_130429"),
    ("c5", "20260310_233856", "20260310_233928"),
    ("c5", "20260329_124440", "20260329_124504"),
    ("esp32", "20260214_183059", "20260214_183141"),
    ("esp32", "20260310_232100", "20260310_232137"),
];
const SUBCARRIERS: usize = 64;
const HALF_SECOND_NS: i64 = 500_000_000;
/// The part of a quiet recording that a link may calibrate on.
const CALIBRATION_NS: i64 = 7_000_000_000;

/// Appends a recording of the given length to a board's output.
fn append(board: &mut String, name: &str, starts_ns: i64, length_ns: i64) {
    let recording = npy::read_npz(&data::file(&format!("har/motion/{name}.npz")));
    let values = &recording["csi_data"].values;
    let n_frames = i64::try_from(values.len() / (2 * SUBCARRIERS)).expect("few");
    for (frame, nth) in values.chunks_exact(2 * SUBCARRIERS).zip(0..) {
        let numbers: Vec<_> = frame.iter().map(ToString::to_string).collect();
        let (numbers, at_us) = (numbers.join(","), (starts_ns + length_ns * nth / n_frames) / 1000);
        // Writing to a string does not fail.
        let _ = writeln!(
            board,
            "CSI_DATA,{nth},94:d9:b3:80:8c:81,-30,11,0,0,0,0,1,0,0,0,0,-93,0,7,0,{at_us},0,67,0,128,0,\"[{numbers}]\""
        );
    }
}

/// Runs the operator with its defaults. Returns the reported motion at every half second.
fn motions(board: &str) -> Vec<(i64, String)> {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("board.csv"), board).expect("room");
    fs::write(directory.path().join("room.toml"), PIPELINE).expect("room");
    process::succeed(directory.path(), &["run", "room.toml"]);
    let reports: Vec<_> = lines::records(&directory.path().join("out.jsonl"))
        .iter()
        .map(|it| (it["captured_at_ns"].as_i64(), it["motion"].as_str().map(str::to_owned)))
        .map(|(at_ns, motion)| (at_ns.expect("a number"), motion.expect("text")))
        .collect();
    let end_ns = reports.last().expect("there are reports").0;
    let at = |at_ns: i64| {
        let before = reports.partition_point(|(reported_ns, _)| *reported_ns <= at_ns);
        reports[..before].last().map_or_else(|| "unknown".to_owned(), |(_, motion)| motion.clone())
    };
    (0..=end_ns / HALF_SECOND_NS).map(|nth| nth * HALF_SECOND_NS).map(|ns| (ns, at(ns))).collect()
}

/// Returns the motion within a part of a recording.
fn within(motions: &[(i64, String)], from_ns: i64, to_ns: i64) -> Vec<&str> {
    let within = motions.iter().filter(|(ns, _)| (from_ns..to_ns).contains(ns));
    within.map(|(_, motion)| motion.as_str()).collect()
}

/// `fresnel evaluate motion` on all sessions, with the defaults.
pub(crate) fn recordings_of_each_chip_are_told_apart() {
    const LENGTH_NS: i64 = 10_000_000_000;
    let directory = tempfile::tempdir().expect("room");
    let mut labels = String::new();
    for (chip, quiet, moving) in SESSIONS {
        let names = [
            (format!("baseline_{chip}_64sc_{quiet}"), "moving = false\nskip = \"7s\""),
            (format!("movement_{chip}_64sc_{moving}"), "moving = true\nskip = \"500ms\""),
        ];
        for (name, label) in names {
            let mut board = String::new();
            append(&mut board, &name, 0, LENGTH_NS);
            fs::write(directory.path().join(format!("{name}.csv")), board).expect("room");
            let _ = writeln!(
                labels,
                "[[recordings]]\nfile = \"{name}.csv\"\nsession = \"{quiet}\"\ndevice = \"{chip}\"\n{label}\n"
            );
        }
    }
    fs::write(directory.path().join("labels.toml"), labels).expect("room");
    let arguments = ["evaluate", "motion", "labels.toml"];
    eprint!("{}", process::succeed(directory.path(), &arguments));
    let json = process::succeed(directory.path(), &[&arguments[..], &["--json"]].concat());
    let scores: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(scores["sessions"].as_object().map(serde_json::Map::len), Some(SESSIONS.len()));
    for (chip, scores) in scores["devices"].as_object().expect("there are chips") {
        let figure = |name: &str| scores[name].as_f64().expect("there are such windows");
        assert!(figure("recall") >= 0.95, "{chip}: {scores}");
        assert!(figure("false_alarms") <= 0.05, "{chip}: {scores}");
        assert!(figure("unknown") == 0.0, "{chip}: {scores}");
    }
}

/// Thirty quiet seconds, then thirty seconds with motion: no false alarm, and no window is missed.
pub(crate) fn a_minute_has_no_error() {
    const LENGTH_NS: i64 = 60_000_000_000;
    let mut board = String::new();
    append(&mut board, "test_c3_64sc_20260329_130804", 0, LENGTH_NS);
    let motions = motions(&board);
    let quiet = within(&motions, CALIBRATION_NS, LENGTH_NS / 2);
    let moving = within(&motions, LENGTH_NS / 2 + 2 * HALF_SECOND_NS, LENGTH_NS);
    assert!(quiet.iter().all(|motion| *motion == "still"), "{quiet:?}");
    assert!(moving.iter().all(|motion| *motion == "moving"), "{moving:?}");
}

/// Boards in a simulated room, with all that disturbs them: `fresnel simulate` and `fresnel evaluate motion`.
pub(crate) fn disturbances_are_no_motion() {
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/scenes/boards.toml");
    for seed in ["1", "2", "3"] {
        let directory = tempfile::tempdir().expect("room");
        let simulate = ["simulate", scene, ".", "--duration", "4min", "--seed", seed];
        process::succeed(directory.path(), &simulate);
        let arguments = ["evaluate", "motion", "labels.toml"];
        eprint!("{}", process::succeed(directory.path(), &arguments));
        let json = process::succeed(directory.path(), &[&arguments[..], &["--json"]].concat());
        let scores: Value = serde_json::from_str(&json).expect("it is JSON");
        let total = &scores["total"];
        let figure = |name: &str| total[name].as_f64().expect("there are such windows");
        assert!(figure("recall") >= 0.85, "seed {seed}: {scores}");
        assert!(figure("false_alarms") <= 0.1, "seed {seed}: {scores}");
    }
}
