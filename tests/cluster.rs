//! One pipeline over several processes: stopped, killed and continued with another number of processes, its
//! output is that of one process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::golden;
use crate::support::{capture, cluster, process};

/// Writes the demo's pipeline, with all operators, to run at a given speed.
fn write_pipeline(directory: &Path, speed: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/demo.toml");
    let pipeline = fs::read_to_string(file).expect("the example").parse().expect("it is TOML");
    let text = golden::rewrite(pipeline).to_string();
    let text = text.replace("speed = \"full\"", &format!("speed = {speed}"));
    let checkpoint = "checkpoint = { interval = \"20ms\", granule = \"300ms\" }\n";
    fs::write(directory.join("demo.toml"), format!("{checkpoint}{text}")).expect("room");
}

fn output(directory: &Path) -> String {
    fs::read_to_string(directory.join("golden.jsonl")).unwrap_or_default()
}

/// Returns the output of one process.
fn uninterrupted() -> String {
    let directory = golden::directory();
    write_pipeline(directory.path(), "\"full\"");
    process::succeed(directory.path(), &["run", "demo.toml"]);
    output(directory.path())
}

/// A run continues from one process to two and then to three. A stop of any process stops the run, and no
/// output is lost or changed.
pub(crate) fn a_stopped_run_goes_on_with_other_processes() {
    let expected = uninterrupted();
    let directory = golden::directory();
    let path = directory.path();
    let some_more = || {
        let before = output(path).lines().count();
        move || output(path).lines().count() > before + 60
    };
    write_pipeline(path, "4.0");
    let mut alone = process::Server::start_silent(path, &["run", "demo.toml"]);
    alone.wait_until(some_more());
    assert_eq!(alone.terminate().0, Some(0));
    for asked in [0, 1] {
        let mut two = cluster::start::<2>(path, &["run", "demo.toml", "--workers", "2"]);
        two[0].wait_until(some_more());
        two[asked].signal("TERM");
        for server in two {
            let (code, said) = server.wait();
            assert_eq!(code, Some(0), "{said}");
        }
        let so_far = output(path);
        assert!(so_far.len() < expected.len(), "it was stopped before its end");
        assert!(expected.starts_with(&so_far));
    }
    write_pipeline(path, "\"full\"");
    cluster::succeed::<3>(path, &["run", "demo.toml"]);
    assert!(output(path) == expected);
}

/// If a process is killed, the other one ends. Started again, both continue from the checkpoint.
pub(crate) fn a_lost_process_ends_the_run() {
    let expected = uninterrupted();
    let directory = golden::directory();
    let path = directory.path();
    write_pipeline(path, "2.0");
    for nth in 0..8 {
        let before = output(path).lines().count();
        let [mut first, mut second] = cluster::start::<2>(path, &["run", "demo.toml"]);
        first.wait_until(|| output(path).lines().count() > before);
        // The test varies the moment of the kill, so there is no condition to wait for.
        std::thread::sleep(Duration::from_millis(nth * 37 % 150));
        if nth % 2 == 0 {
            std::mem::swap(&mut first, &mut second);
        }
        drop(second);
        let (code, said) = first.wait();
        assert_eq!(code, Some(70), "{said}");
        assert!(expected.starts_with(&output(path)));
    }
    write_pipeline(path, "\"full\"");
    process::succeed(path, &["run", "demo.toml"]);
    assert!(output(path) == expected);
}

/// The second process has the second source, whose file is missing.
const HALF_A_PIPELINE: &str = r#"
name = "half"

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }

[sources.nowhere]
type = "csi"
format = "esp32"
transport = { file = "nowhere.csv" }

[sinks.lines]
type = "json_lines"
inputs = ["laptop", "nowhere"]
path = "out.jsonl"
"#;

/// If one process cannot open its source, the others end as well: they receive the failure or lose the
/// connection.
pub(crate) fn a_process_that_cannot_start_ends_the_others() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path();
    fs::write(path.join("capture.dat"), capture::intel5300()).expect("room");
    fs::write(path.join("half.toml"), HALF_A_PIPELINE).expect("room");
    let arguments = ["run", "half.toml", "--workers", "2"];
    let [(first, said), (second, why)] =
        cluster::start::<2>(path, &arguments).map(process::Server::wait);
    assert_eq!(second, Some(1), "{why}");
    assert!(why.contains("nowhere.csv"), "{why}");
    let heard = said.contains("another process of this run could not start");
    let lost = said.contains("communication error");
    assert!((first == Some(1) && heard) || (first == Some(70) && lost), "{first:?}: {said}");
    assert_eq!(fs::read_to_string(path.join("out.jsonl")).unwrap_or_default(), "");
}

/// Both processes report the process that differs and its difference, and open nothing.
pub(crate) fn processes_that_differ_are_refused() {
    let directory = golden::directory();
    let path = directory.path();
    write_pipeline(path, "\"full\"");
    let text = fs::read_to_string(path.join("demo.toml")).expect("it is there");
    fs::write(path.join("coarse.toml"), text.replace("300ms", "600ms")).expect("room");
    fs::write(path.join("slow.toml"), text.replace("\"full\"", "2.0")).expect("room");
    for (other, expected) in [
        (["run", "demo.toml", "--workers", "2"], "it has 2 workers, not 1"),
        (["run", "coarse.toml", "--workers", "1"], "its pipeline has other settings"),
        (["run", "slow.toml", "--workers", "1"], "its component \"room\" has other settings"),
    ] {
        let processes = cluster::start_unlike(path, [&["run", "demo.toml"], &other]);
        for (code, said) in processes.map(process::Server::wait) {
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("process 1 cannot run with process 0"), "{said}");
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(output(path), "");
    }
}

pub(crate) fn mistakes_in_hosts_are_told() {
    let directory = golden::directory();
    write_pipeline(directory.path(), "\"full\"");
    fs::write(directory.path().join("hosts"), "# none\n127.0.0.1:0\n").expect("room");
    let run = |arguments: &[&str]| {
        process::fail(directory.path(), &[&["run", "demo.toml"], arguments].concat(), 1)
    };
    let said = run(&["--hosts", "nowhere"]);
    assert!(said.contains("the list of hosts \"nowhere\" cannot be used: No such file"), "{said}");
    let said = run(&["--hosts", "hosts", "--process", "1"]);
    assert!(said.contains("it has 1 lines, and none for 1"), "{said}");
}
