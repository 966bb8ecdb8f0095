//! Invalid input: the program reports or counts each error, and never panics.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{capture, process, wait};

const PIPELINE: &str = r#"
name = "flat"

[sources.living]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }

[operators.motion]
type = "motion"
inputs = ["living"]

[sinks.out]
type = "json_lines"
inputs = ["motion", "living"]
path = "out.jsonl"
"#;

/// Returns a folder with a pipeline and a capture.
fn directory(pipeline: &str, capture: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
    fs::write(directory.path().join("capture.dat"), capture).expect("room");
    directory
}

pub(crate) fn mistakes_in_a_pipeline_are_told() {
    let directory = directory(&PIPELINE.replace("path =", "paht ="), b"");
    for command in ["validate", "run", "graph"] {
        let said = process::fail(directory.path(), &[command, "flat.toml"], 78);
        assert!(said.contains("flat.toml:16:1: sink \"out\": unknown field `paht`"), "{said}");
        assert!(said.contains("did you mean \"path\"?"), "{said}");
    }
    let said = process::fail(directory.path(), &["run", "nowhere.toml"], 78);
    assert!(said.contains("could not read pipeline nowhere.toml"), "{said}");
}

/// A sink that writes the file that a source reads is an error, also if the two paths differ in spelling.
/// Relative paths are relative to the folder that a pipeline runs in.
pub(crate) fn a_sink_does_not_write_what_a_source_reads() {
    let capture = capture::intel5300();
    let directory = directory(&PIPELINE.replace("out.jsonl", "./capture.dat"), &capture);
    let expected = "flat.toml:16:8: sink \"out\" writes \"./capture.dat\", but source \"living\" reads \
                    \"capture.dat\"";
    for command in ["validate", "run"] {
        let said = process::fail(directory.path(), &[command, "flat.toml"], 78);
        assert!(said.contains(expected), "{said}");
    }
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("room");
    let path = elsewhere.join("out.jsonl");
    fs::write(&path, &capture).expect("room");
    let pipeline = PIPELINE.replace("capture.dat", &path.to_string_lossy());
    fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
    process::succeed(directory.path(), &["validate", "flat.toml"]);
    let said = process::fail(directory.path(), &["run", "flat.toml", "-C", "elsewhere"], 78);
    assert!(said.contains("but source \"living\" reads"), "{said}");
    assert!(fs::read(&path).expect("it is there") == capture, "it was touched");
}

/// A fresh start reports the existing output of sinks, and removes it with `--clear`. It never removes files
/// that Fresnel did not write.
pub(crate) fn a_fresh_start_says_what_sinks_hold() {
    let history = "[sinks.history]\ntype = \"delta\"\ninputs = [\"motion\"]\npath = \"history\"\n";
    let directory = directory(&format!("{PIPELINE}\n{history}"), &capture::intel5300());
    let path = directory.path();
    let run = |arguments: &[&str]| {
        let output = process::fresnel(path, &[&["run", "flat.toml"][..], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let n_rows = || -> u64 {
        let sql = "SELECT count(*) AS n FROM presence";
        let answer = process::succeed(path, &["sql", "--format", "csv", sql]);
        answer.lines().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    assert!(!run(&[]).contains("\" has "));
    let once = n_rows();
    let journal = path.join("fresnel.journal/flat/earlier");
    fs::create_dir_all(&journal).expect("room");
    fs::write(path.join("history/notes.txt"), "mine").expect("room");
    let said = run(&["--fresh"]);
    assert!(said.contains("\"out.jsonl\" has"), "{said}");
    assert!(said.contains("\"history\" has rows of earlier runs in presence"), "{said}");
    assert_eq!(n_rows(), 2 * once, "beside the old ones");
    assert!(journal.exists(), "journals of earlier runs stay");

    process::fail(path, &["run", "flat.toml", "--clear"], 2);
    assert!(!run(&["--fresh", "--clear"]).contains("\" has "));
    assert_eq!(n_rows(), once);
    assert!(!journal.exists() && path.join("history/notes.txt").exists());

    fs::remove_file(path.join("out.jsonl.upper")).expect("it is there");
    let said = process::fail(path, &["run", "flat.toml", "--fresh", "--clear"], 1);
    assert!(said.contains("cannot clear the output of sink \"out\""), "{said}");
    assert!(said.contains("has no `.upper` file"), "{said}");
    assert_eq!(n_rows(), once, "nothing is removed then");
}

/// A `max_lead` below a tick, and below the allowed disorder, makes a run slower, but its output is the same.
pub(crate) fn a_small_lead_stalls_nothing() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let rows = |file: &str, first_ms: u64, step_ms: u64| {
        let lines = (0..400).map(|nth| {
            let at_ms = first_ms + nth * step_ms - nth * 7919 % 2000;
            format!("{{\"at_ms\":{at_ms},\"nth\":{nth}}}\n")
        });
        fs::write(path.join(file), lines.collect::<String>()).expect("room");
    };
    rows("a.jsonl", 1_000_000, 50);
    rows("b.jsonl", 1_007_000, 90);
    let source = |name: &str| {
        format!(
            "[sources.{name}]\ntype = \"json\"\ntransport = {{ file = \"{name}.jsonl\" }}\n\
             fields = {{ at_ms = \"int\", nth = \"int\" }}\ntime = {{ field = \"at_ms\" }}\n\
             max_delay = \"3s\"\n"
        )
    };
    let rest = r#"
[operators.seconds]
type = "windows"
inputs = ["a", "b"]
window = { sliding = { length = "2s", every = "1s" } }
aggregates = { n = "count", most = "max(nth)" }

[sinks.lines]
type = "json_lines"
inputs = ["a", "b", "seconds"]
path = "out.jsonl"
"#;
    let output = |settings: &str| {
        let head = format!("name = \"rows\"\n{settings}\n");
        let text = [head.as_str(), source("a").as_str(), source("b").as_str(), rest].concat();
        fs::write(path.join("rows.toml"), text).expect("room");
        process::succeed(path, &["run", "rows.toml", "--fresh"]);
        fs::read_to_string(path.join("out.jsonl")).expect("it was written")
    };
    let expected = output("tick = \"100ms\"");
    assert!(expected.lines().count() > 800);
    for checkpoint in ["{ granule = \"10s\" }", "{ granule = \"1ms\", interval = \"1ms\" }"] {
        let settings = format!("tick = \"100ms\"\nmax_lead = \"1ms\"\ncheckpoint = {checkpoint}");
        assert!(output(&settings) == expected, "{settings}");
    }
}

pub(crate) fn garbage_is_counted() {
    let good = capture::intel5300();
    let record_bytes = good.len() / capture::N_FRAMES;
    let truncated = &good[..good.len() - 100];
    let mut damaged = good.clone();
    // The antenna count of the second record.
    damaged[record_bytes + 11] = 9;
    let garbage: Vec<u8> =
        (0..10_000_u32).map(|nth| (nth.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let n_frames = capture::N_FRAMES;
    for (name, bytes, n_good, reason) in [
        ("truncated", truncated, n_frames - 1, "truncated record: 1"),
        ("damaged", &damaged, n_frames - 1, "impossible antenna count: 1"),
        ("garbage", &garbage, 0, "truncated record"),
        ("empty", &[], 0, "file capture.dat is empty"),
    ] {
        let directory = directory(PIPELINE, bytes);
        let output = process::fresnel(directory.path(), &["run", "flat.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        // Without any record, the file or the format is probably wrong.
        assert_eq!(output.status.code(), Some(if n_good == 0 { 66 } else { 0 }), "{name}: {said}");
        assert!(said.contains(reason), "{name}: {said}");
        if n_good > 0 {
            assert!(
                said.contains(&format!("living: {n_good} records, 0 late, 1 dropped")),
                "{name}: {said}"
            );
        }
    }
}

/// Rows whose fields have another name and another type than the pipeline declares.
pub(crate) fn fields_without_values_are_told() {
    const PIPELINE: &str = r#"
name = "things"

[sources.things]
type = "json"
transport = { file = "capture.dat" }
fields = { at = "int", temp = "float", room = "float" }
time = { field = "at" }

[sinks.lines]
type = "json_lines"
inputs = ["things"]
path = "out.jsonl"
"#;
    let rows: Vec<_> =
        (0..60).map(|nth| format!("{{\"at\":{nth},\"room\":\"hall\",\"celsius\":20}}")).collect();
    let rows = rows.join("\n");
    let directory = directory(PIPELINE, rows.as_bytes());
    let output = process::fresnel(directory.path(), &["run", "flat.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for field in ["temp", "room"] {
        let expected = format!("source \"things\": field \"{field}\" is missing in the first");
        assert_eq!(said.matches(&expected).count(), 1, "{said}");
    }
    assert!(!said.contains("field \"at\""), "{said}");
}

/// Poses to a table and to JSON Lines; one of the frames has a number that no column of the table can
/// contain.
const POSES: &str = r#"
name = "poses"

[sources.camera]
type = "poses"
transport = { file = "poses.jsonl" }

[sinks.history]
type = "delta"
inputs = ["camera"]
path = "history"

[sinks.lines]
type = "json_lines"
inputs = ["camera"]
path = "out.jsonl"
"#;

/// A file with three rows, to which the test adds more.
const ROWS: &str = r#"
name = "rows"

[sources.rows]
type = "json"
transport = { file = "rows.jsonl" }
fields = { at_ms = "int" }
time = { field = "at_ms" }

[sinks.lines]
type = "json_lines"
inputs = ["rows"]
path = "out.jsonl"
"#;

/// A later start reports rows that were added after the pipeline ended, a lost store, and misspelt names.
pub(crate) fn a_later_start_reports_what_it_cannot_do() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    fs::write(path.join("rows.toml"), ROWS).expect("room");
    let row = |nth: u64| format!("{{\"at_ms\":{}}}\n", 1_700_000_000_000 + nth * 1000);
    let rows = |range: std::ops::Range<u64>| range.map(row).collect::<String>();
    fs::write(path.join("rows.jsonl"), rows(0..3)).expect("room");
    let first = process::fresnel(path, &["run", "rows.toml"]);
    let said = String::from_utf8_lossy(&first.stderr);
    assert!(first.status.success() && !said.contains("\"out.jsonl\" has"), "{said}");
    process::succeed(path, &["run", "rows.toml"]);
    fs::write(path.join("rows.jsonl"), rows(0..6)).expect("room");
    let said = process::fail(path, &["run", "rows.toml"], 1);
    assert!(said.contains("\"rows\" has new records, but the pipeline has ended"), "{said}");
    let said = process::fail(path, &["run", "rows.toml", "--drop-state", "raws"], 1);
    assert!(said.contains("--drop-state \"raws\": no such component"), "{said}");
    let said = process::fail(path, &["run", "rows.toml", "--quarantine", "raws/3"], 1);
    assert!(said.contains("expected one of rows"), "{said}");
    fs::remove_file(path.join("fresnel.db")).expect("it is there");
    let again = process::fresnel(path, &["run", "rows.toml"]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        said.contains("\"out.jsonl\" has") && said.contains("which this run replaces"),
        "{said}"
    );
}

/// A record that does not fit a table's columns is written to `rejected` once, and the run continues.
pub(crate) fn what_a_sink_cannot_hold_is_kept_apart() {
    let frame_id = |nth: u64| if nth == 5 { u64::MAX } else { nth };
    let poses: String = (0..10).map(|nth| capture::pose("flat", nth, frame_id(nth), 1)).collect();
    let write = |path: &Path| {
        fs::write(path.join("poses.toml"), POSES).expect("room");
        fs::write(path.join("poses.jsonl"), &poses).expect("room");
    };
    let ask = |path: &Path, sql: &str| process::succeed(path, &["sql", "--format", "csv", sql]);
    let whole = tempfile::tempdir().expect("room");
    write(whole.path());
    let output = process::fresnel(whole.path(), &["run", "poses.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let expected = "history: 9 records, 0 late, 1 dropped (does not fit its columns: 1)";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("lines: 10 records, 0 late, 0 dropped"), "{said}");
    // A run that dies after a commit repeats it after its restart, without duplicates.
    let twice = tempfile::tempdir().expect("room");
    write(twice.path());
    let died =
        process::fresnel_failing(twice.path(), &["run", "poses.toml"], "after commit/history:1");
    assert_eq!(died.status.signal(), Some(6));
    process::succeed(twice.path(), &["run", "poses.toml"]);
    for path in [whole.path(), twice.path()] {
        let n_poses = "SELECT count(*) AS n, count(DISTINCT frame_id) AS m FROM poses";
        assert_eq!(ask(path, n_poses), "n,m\n9,9\n");
        let letters = ask(path, "SELECT kind, n_records, reason, record FROM rejected");
        assert_eq!(letters.lines().count(), 2, "{letters}");
        assert!(letters.contains("pose,1,does not fit its columns,"), "{letters}");
        assert!(letters.contains(&u64::MAX.to_string()), "{letters}");
    }
    // The text of a rejected record may name any person, so `forget` removes all of them.
    process::succeed(whole.path(), &["forget", "p1"]);
    assert_eq!(ask(whole.path(), "SELECT count(*) AS n FROM rejected"), "n\n0\n");
    assert_eq!(ask(whole.path(), "SELECT count(*) AS n FROM poses"), "n\n9\n");
}

/// Records that cannot be decoded become rows of the error stream, which operators and sinks accept like any
/// other.
pub(crate) fn errors_can_be_kept() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let good = "{\"at_ms\":1000,\"x\":1}\n";
    fs::write(path.join("in.jsonl"), format!("{good}{{\"at_ms\":\n{good}{{\"x\":2}}\n{good}"))
        .expect("room");
    let pipeline = r#"
name = "letters"

[sources.letters]
type = "json"
transport = { file = "in.jsonl" }
fields = { at_ms = "int", x = "int" }
time = { field = "at_ms" }

[operators.by_reason]
type = "windows"
inputs = ["letters.errors"]
key = ["reason"]
window = { tumbling = { length = "1s" } }
aggregates = { n = "sum(n_records)" }

[sinks.good]
type = "json_lines"
inputs = ["letters"]
path = "good.jsonl"

[sinks.dead]
type = "json_lines"
inputs = ["letters.errors", "by_reason"]
path = "dead.jsonl"
"#;
    fs::write(path.join("letters.toml"), pipeline).expect("room");
    process::succeed(path, &["run", "letters.toml"]);
    let read = |name: &str| fs::read_to_string(path.join(name)).expect("it was written");
    assert_eq!(read("good.jsonl"), "{\"at_ms\":1000,\"x\":1}\n".repeat(3));
    let expected = [
        r#"{"source":"letters","partition":"","offset":21,"reason":"no json object","n_records":1}"#,
        r#"{"source":"letters","partition":"","offset":52,"reason":"no time","n_records":1}"#,
        r#"{"reason":"no json object","window_start_ns":1000000000,"window_end_ns":2000000000,"n":1}"#,
        r#"{"reason":"no time","window_start_ns":1000000000,"window_end_ns":2000000000,"n":1}"#,
    ];
    let dead = read("dead.jsonl");
    let mut found: Vec<_> = dead.lines().collect();
    found[2..].sort_unstable();
    assert_eq!(found, expected);
}

pub(crate) fn what_cannot_be_opened_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let udp = format!("{{ udp = \"{}\" }}", udp.local_addr().expect("bound"));
    let delta = "type = \"delta\"\ncommit_interval = \"1s\"";
    for (change, to, expected) in [
        (
            "name = \"flat\"",
            format!("name = \"flat\"\napi = {{ listen = \"{address}\" }}"),
            "could not listen on 127.0.0.1",
        ),
        ("{ file = \"capture.dat\" }", udp, "could not listen on udp 127.0.0.1"),
        ("capture.dat", "nowhere.dat".to_owned(), "nowhere.dat"),
        ("out.jsonl", "nowhere/out.jsonl".to_owned(), "for writing"),
        // The path of the table's folder is a file.
        ("type = \"json_lines\"", delta.to_owned(), "for writing"),
    ] {
        let pipeline = PIPELINE.replace(change, &to);
        let pipeline =
            if to == delta { pipeline.replace("out.jsonl", "flat.toml") } else { pipeline };
        let directory = directory(&pipeline, &capture::intel5300());
        let said = process::fail(directory.path(), &["run", "flat.toml"], 1);
        assert!(said.contains(expected), "{to}: {said}");
        assert!(said.contains("caused by: "), "{to}: {said}");
    }
    let model = "[operators.pose]\ntype = \"infer\"\ninputs = [\"living\"]\nmodel = \"capture.dat\"\n\n[sinks.out]";
    let directory = directory(&PIPELINE.replace("[sinks.out]", model), b"no model");
    let said = process::fail(directory.path(), &["run", "flat.toml"], 1);
    assert!(said.contains("cannot use model"), "{said}");
}

pub(crate) fn a_full_disk_is_told() {
    let directory = directory(&PIPELINE.replace("out.jsonl", "/dev/full"), &capture::intel5300());
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let server = process::Server::start(directory.path(), &arguments);
    let health = || server.get("/api/v1/system/health");
    wait::until("the disk is full", || health().1.contains("No space left"));
    let (code, health) = health();
    assert_eq!(code, 200, "it waits: {health}");
    assert!(health.contains("/dev/full"), "{health}");
    server.signal("TERM");
    let (code, said) = server.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not write to \"/dev/full\""), "{said}");
    if small_disk_there() {
        a_full_disk_under_a_table();
    }
}

/// Returns true if the test may mount a file system, which needs the rights of an administrator.
fn small_disk_there() -> bool {
    let mount =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    mount.is_ok_and(|output| output.status.success())
}

/// While the disk of a table is full, the run waits. Once there is room, it writes all rows.
fn a_full_disk_under_a_table() {
    let pipeline = PIPELINE.replace("json_lines", "delta").replace("out.jsonl", "small/history");
    let directory = directory(&pipeline, &capture::intel5300());
    fs::create_dir(directory.path().join("small")).expect("room");
    let script = "mount -t tmpfs -o size=200k tmpfs small; \"$0\" run flat.toml 2> said & \
                  for nth in $(seq 600); do grep -q 'No space left' said && break; sleep 0.1; done; \
                  mount -o remount,size=100m small; wait $!; echo $?; cat said >&2; \
                  \"$0\" sql --history small/history --format csv \
                  'SELECT sum(cardinality(captured_at_ns)) AS n FROM csi'";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_fresnel")])
        .current_dir(directory.path())
        .output()
        .expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("or commit to it"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, format!("0\nn\n{}\n", capture::N_FRAMES), "{said}");
}

pub(crate) fn sql_only_reads() {
    let directory = tempfile::tempdir().expect("room");
    let log = directory.path().join("history/poses/_delta_log");
    fs::create_dir_all(&log).expect("room");
    for sql in ["DROP TABLE poses", "DELETE FROM poses", "COPY poses TO 'poses.csv'", "SELEKT"] {
        process::fail(directory.path(), &["sql", sql], 1);
    }
    assert_eq!(fs::read_dir(&log).expect("it is there").count(), 0, "asking writes nothing");
    let empty = process::succeed(directory.path(), &["sql", "-f", "json", "SELECT * FROM persons"]);
    assert_eq!(empty.trim(), "[]");
}

pub(crate) fn a_missing_history_is_an_error() {
    let directory = tempfile::tempdir().expect("room");
    let ask = || process::fail(directory.path(), &["sql", "SELECT 1"], 1);
    let expected = "no history in \"history\": expected a folder of tables";
    assert!(ask().contains(expected), "{}", ask());
    fs::create_dir_all(directory.path().join("demo/history/poses/_delta_log")).expect("room");
    let expected = "no history in \"history\": try --history demo/history";
    assert!(ask().contains(expected), "{}", ask());
}
