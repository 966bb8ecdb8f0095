//! Two million JSON events, aggregated by device and second, compared with Bytewax and Flink. The bench
//! prints events per second of processor time, with one worker each. Fresnel makes checkpoints, the others do
//! not.
//!
//! Expected: parsing dominates; the others process Python objects or one row at a time. The bench prints the
//! number of missing events of each engine: all events must be in the windows.
//!
//! Needs `FRESNEL_PYTHON`, and `FRESNEL_PEERS` with a virtual environment for each peer (`make bench`
//! provides both).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const N_EVENTS: u64 = 2_000_000;
const ROUNDS: usize = 3;

const PIPELINE: &str = r#"
name = "events"
tick = "1s"
max_lead = "60s"

[sources.events]
type = "json"
transport = { file = "events.jsonl" }
max_delay = "200ms"
fields = { ts_ms = "int", device_id = "text", confidence = "float" }
time = { field = "ts_ms" }

[operators.windows]
type = "windows"
inputs = ["events"]
key = ["device_id"]
window = { tumbling = { length = "1s" } }
aggregates = { count = "count", mean = "mean(confidence)" }

[sinks.lines]
type = "json_lines"
inputs = ["windows"]
path = "fresnel"
"#;

#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn main() {
    let folder = tempfile::tempdir().expect("room");
    let path = folder.path();
    fs::write(path.join("events.jsonl"), events()).expect("room");
    fs::write(path.join("events.toml"), PIPELINE).expect("room");
    let fresnel = env!("CARGO_BIN_EXE_fresnel");
    let ours = measure(path, "fresnel", &[fresnel, "run", "events.toml", "--fresh"]);
    println!("fresnel: {:.2} M events per processor second", ours * 1e-6);
    let Some(peers) = std::env::var_os("FRESNEL_PEERS").map(PathBuf::from) else { return };
    for peer in ["bytewax", "flink"] {
        let python = peers.join(peer).join("bin/python").to_string_lossy().into_owned();
        let script = format!("{}/benches/peers/tumbling_{peer}.py", env!("CARGO_MANIFEST_DIR"));
        let theirs = measure(path, peer, &[&python, &script, "events.jsonl", peer]);
        println!("fresnel does {:.1} times as many as {peer}", ours / theirs);
    }
}

/// Returns made-up events of 64 devices, a millisecond apart and up to 200 ms out of order.
fn events() -> String {
    let mut lines = String::new();
    let mut seed = 1_u64;
    for nth in 0..N_EVENTS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let ts_ms = (1_767_225_600_000 + nth - (seed >> 40) % 200).max(1_767_225_600_000);
        let (device, x) = ((seed >> 33) % 64, (seed >> 20) % 100_000);
        writeln!(
            lines,
            "{{\"ts_ms\":{ts_ms},\"device_id\":\"dev-{device:02}\",\"x\":{:.4},\"y\":{:.4},\
             \"confidence\":{:.4}}}",
            x as f64 * 1e-4,
            (x / 7) as f64 * 1e-4,
            (seed >> 50) as f64 / 16_384.0
        )
        .expect("a string takes it");
    }
    lines
}

/// Returns the median of the events per second of processor time, for a command that writes windows to
/// `output`.
#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn measure(folder: &Path, output: &str, command: &[&str]) -> f64 {
    let python = std::env::var("FRESNEL_PYTHON").expect("make bench tells a python");
    let script = format!("{}/benches/peers/cpu_seconds.py", env!("CARGO_MANIFEST_DIR"));
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut measured = Command::new(&python);
            let measured = measured.arg(&script).args(command).current_dir(folder).output();
            let measured = measured.expect("python starts");
            let said = String::from_utf8_lossy(&measured.stderr);
            assert!(measured.status.success(), "{command:?}: {said}");
            let time = String::from_utf8_lossy(&measured.stdout);
            let missing = i64::try_from(N_EVENTS).expect("few") - counted(&folder.join(output));
            println!("{output}: {} processor seconds, {missing} events missing", time.trim());
            time.trim().parse().expect("a number")
        })
        .collect();
    times.sort_by(f64::total_cmp);
    N_EVENTS as f64 / times[ROUNDS / 2]
}

/// Returns the sum of all windows' counts, in a file or in the files of a folder, which it removes.
fn counted(output: &Path) -> i64 {
    if output.is_dir() {
        let files = fs::read_dir(output).expect("a folder").flatten().map(|file| file.path());
        let n_events = files.map(|file| counted(&file)).sum();
        fs::remove_dir_all(output).expect("it is ours");
        return n_events;
    }
    let text = fs::read_to_string(output).expect("it was written");
    let counts = text.lines().map(|line| {
        let window: serde_json::Value = serde_json::from_str(line).expect("a window");
        window["count"].as_i64().expect("a number")
    });
    counts.sum()
}
