//! From a capture file to rows that SQL and other programs read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::golden;
use crate::support::{capture, data, process, python};

/// Runs a capture through the example pipeline; returns the folder.
fn run(bytes: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("capture.dat"), bytes).expect("room");
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/intel5300.toml");
    process::succeed(directory.path(), &["run", &pipeline.to_string_lossy()]);
    directory
}

fn query(directory: &Path, sql: &str) -> Value {
    let answer = process::succeed(directory, &["sql", "--format", "json", sql]);
    serde_json::from_str(&answer).expect("the answer is JSON")
}

/// A writer makes the folder of a table's log before its first commit.
pub(crate) fn a_table_without_a_commit_is_empty() {
    let directory = tempfile::tempdir().expect("room");
    fs::create_dir_all(directory.path().join("history/poses/_delta_log")).expect("room");
    assert_eq!(query(directory.path(), "SELECT count(*) AS n FROM poses")[0]["n"], 0);
}

fn n_frames(directory: &Path) -> i64 {
    let sql = "SELECT sum(cardinality(captured_at_ns)) AS n FROM csi";
    query(directory, sql)[0]["n"].as_i64().expect("a number")
}

pub(crate) fn a_capture_becomes_rows() {
    let directory = run(&capture::intel5300());
    assert_eq!(n_frames(directory.path()), i64::try_from(capture::N_FRAMES).expect("few"));
    let sql = "SELECT motion, count(*) AS n FROM presence GROUP BY motion ORDER BY motion";
    let motions = query(directory.path(), sql);
    let motions: Vec<_> =
        motions.as_array().expect("rows").iter().map(|row| &row["motion"]).collect();
    assert_eq!(motions, ["moving", "still", "unknown"]);
}

/// A condition on a timestamp selects the same rows as one on nanoseconds, and chooses files as well.
pub(crate) fn a_condition_on_a_timestamp_chooses_files() {
    let directory = tempfile::tempdir().expect("room");
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/scenes/flat.toml");
    let pipeline = format!(
        "name = \"truth\"\n\
         sources.room = {{ type = \"simulate\", scene = \"{}\", duration = \"10s\", starts_at_s = 1800000000 }}\n\
         sinks.history = {{ type = \"delta\", inputs = [\"room.truth\"], path = \"history\" }}\n",
        scene.display()
    );
    fs::write(directory.path().join("truth.toml"), pipeline).expect("room");
    process::succeed(directory.path(), &["run", "truth.toml"]);
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) AS n FROM poses WHERE {condition}");
        query(directory.path(), &sql)[0]["n"].as_u64().expect("a number")
    };
    let half = "captured_at >= '2027-01-15T08:00:05Z' AND captured_at < '2027-01-15T08:00:10Z'";
    let in_ns = "captured_at_ns >= 1800000005000000000 AND captured_at_ns < 1800000010000000000";
    assert!(count("true") > count(half) && count(half) > 0);
    assert_eq!(count(half), count(in_ns));
    assert_eq!(count("captured_at > '2028-01-01T00:00:00Z' OR captured_at IS NULL"), 0);
    for table in ["poses", "persons"] {
        for condition in [half, "captured_at >= now() - INTERVAL '1 hour'"] {
            let sql = format!("EXPLAIN SELECT * FROM {table} WHERE {condition}");
            let plan = process::succeed(directory.path(), &["sql", "--format", "csv", &sql]);
            assert!(plan.contains("predicate=captured_at_ns"), "{table}: {plan}");
        }
    }
}

pub(crate) fn every_format_holds_the_same_rows() {
    let directory = run(&capture::intel5300());
    let sql = "SELECT link, captured_at_ns FROM presence ORDER BY captured_at_ns LIMIT 5";
    let text = |format| process::succeed(directory.path(), &["sql", "--format", format, sql]);
    let (json, lines, csv) = (text("json"), text("json_lines"), text("csv"));
    let json: Vec<Value> = serde_json::from_str(&json).expect("JSON");
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(json, lines);
    assert_eq!(json.len(), 5);
    assert_eq!(csv.lines().count(), 6, "a header and five rows");
    for (format, magic) in
        [("arrow", &b"ARROW1"[..]), ("arrow_stream", b"\xFF\xFF\xFF\xFF"), ("parquet", b"PAR1")]
    {
        let output = process::fresnel(directory.path(), &["sql", "--format", format, sql]);
        assert!(output.stdout.starts_with(magic), "{format}");
    }
}

/// Commits one row after the other; the folder has the log of their table.
fn often_committed() -> (TempDir, process::Server) {
    let directory = tempfile::tempdir().expect("room");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(root.join("pipelines"), directory.path().join("pipelines"))
        .expect("a link");
    let pipeline = "name = \"truth\"\n\
        sources.room = { type = \"simulate\", scene = \"pipelines/scenes/flat.toml\", speed = 4.0 }\n\
        sinks.history = { type = \"delta\", inputs = [\"room.truth\"], path = \"history\", commit_interval = \"20ms\" }\n";
    fs::write(directory.path().join("truth.toml"), pipeline).expect("room");
    let arguments = ["run", "truth.toml", "--listen", "127.0.0.1:0"];
    let server = process::Server::start(directory.path(), &arguments);
    (directory, server)
}

/// While rows are committed often, and their files made into larger ones, a frame is always in the answer
/// exactly once.
pub(crate) fn a_query_misses_nothing_and_counts_nothing_twice() {
    let (directory, server) = often_committed();
    let log = directory.path().join("history/poses/_delta_log");
    let compacted = || {
        let commits = fs::read_dir(&log).into_iter().flatten().flatten();
        let commits = commits.filter_map(|commit| fs::read_to_string(commit.path()).ok());
        commits.filter(|commit| commit.contains("\"OPTIMIZE\"")).count()
    };
    let sql =
        "SELECT count(*) AS n, count(DISTINCT frame_id) AS d, max(frame_id) + 1 AS m FROM poses";
    let (mut n_before, mut n_queries) = (0, 0);
    while compacted() < 2 {
        let (status, body) = server.post("/api/v1/sql", &serde_json::json!({ "q": sql }));
        assert_eq!(status, 200, "{body}");
        let row: Vec<Value> = serde_json::from_str(&body).expect("JSON");
        let n = row[0]["n"].as_u64().expect("a number");
        if n > 0 {
            assert_eq!(
                [&row[0]["d"], &row[0]["m"]],
                [&row[0]["n"]; 2],
                "after {n_queries} queries"
            );
        }
        assert!(n >= n_before, "rows do not vanish");
        (n_before, n_queries) = (n, n_queries + 1);
    }
    assert!(n_queries > 10 && n_before > 50, "{n_queries} queries, {n_before} rows");
}

/// What a commit takes does not grow with the commits before it: neither with their log nor with the files
/// that maintenance makes of theirs.
pub(crate) fn memory_has_a_bound_however_many_commits_there_were() {
    let (directory, mut server) = often_committed();
    let log = directory.path().join("history/poses/_delta_log");
    let committed = |version: u32| log.join(format!("{version:020}.json")).exists();
    server.wait_until(|| committed(200));
    let before = server.peak_memory_bytes() >> 20;
    for version in (400..=2000).step_by(200) {
        server.wait_until(|| committed(version));
    }
    let after = server.peak_memory_bytes() >> 20;
    eprintln!("at most {before} MiB in 200 commits, {after} MiB in 2,000");
    assert!(after < 256, "{before} MiB, then {after} MiB");
}

/// `forget` removes a person from all tables, and changes no other row.
pub(crate) fn a_person_can_be_forgotten() {
    let directory = golden::directory();
    let pipeline = fs::read_to_string(directory.path().join("pipelines/demo.toml"));
    let pipeline = golden::rewrite(pipeline.expect("the example").parse().expect("it is TOML"));
    let pipeline = pipeline.to_string().replace("type = \"json_lines\"", "type = \"delta\"");
    let pipeline = pipeline.replace("path = \"golden.jsonl\"", "path = \"history\"");
    fs::write(directory.path().join("demo.toml"), pipeline).expect("room");
    process::succeed(directory.path(), &["run", "demo.toml"]);
    let path = directory.path();
    let tell = || {
        let of_person = |person: &str| {
            [
                format!("SELECT count(*) AS n FROM persons WHERE person = '{person}'"),
                format!("SELECT count(*) AS n FROM activities WHERE subject = '{person}'"),
                format!("SELECT count(*) AS n FROM events WHERE subject = '{person}'"),
                format!("SELECT count(*) AS n FROM occupancy WHERE array_has(persons, '{person}')"),
            ]
            .map(|sql| query(path, &sql)[0]["n"].as_i64().expect("a number"))
        };
        [of_person("p1"), of_person("p2")]
    };
    let n_frames = || query(path, "SELECT count(*) AS n FROM poses")[0]["n"].as_i64();
    let files = || -> BTreeSet<_> {
        let files = fs::read_dir(path.join("history/poses")).expect("a table").flatten();
        files.map(|file| file.file_name()).filter(|name| name != "_delta_log").collect()
    };
    let ([forgotten, kept], frames, files_before) = (tell(), n_frames(), files());
    assert!(forgotten.iter().chain(&kept).all(|n| *n > 0), "{forgotten:?} {kept:?}");
    process::succeed(path, &["forget", "p1"]);
    assert_eq!(tell(), [[0; 4], kept]);
    assert_eq!(n_frames(), frames);
    assert!(files().is_disjoint(&files_before), "they told of the person");
    let said = process::fail(path, &["forget", "--history", "nowhere", "p1"], 1);
    assert!(said.contains("nowhere"), "{said}");
}

/// While a pipeline commits, a person can be forgotten; the pipeline goes on, and loses no row.
pub(crate) fn a_person_can_be_forgotten_meanwhile() {
    let directory = golden::directory();
    let path = directory.path();
    let pipeline = "name = \"truth\"\n\
        sources.room = { type = \"simulate\", scene = \"pipelines/scenes/flat.toml\", speed = 4.0 }\n\
        sinks.history = { type = \"delta\", inputs = [\"room.truth\"], path = \"history\", commit_interval = \"20ms\" }\n";
    fs::write(path.join("truth.toml"), pipeline).expect("room");
    let arguments = ["run", "truth.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(path, &arguments);
    let rows = |sql: &str| query(path, sql)[0]["n"].as_i64().expect("a number");
    let persons = "SELECT count(*) AS n FROM persons WHERE person = '0'";
    let log = path.join("history/poses/_delta_log");
    server.wait_until(|| log.is_dir() && rows(persons) > 0);
    for _ in 0..3 {
        let newest = rows("SELECT max(frame_id) AS n FROM poses");
        process::succeed(path, &["forget", "0"]);
        assert_eq!(rows(&format!("{persons} AND frame_id <= {newest}")), 0);
    }
    assert_eq!(server.terminate().0, Some(0));
    let frames = "SELECT count(*) - max(frame_id) - 1 AS n FROM poses";
    assert_eq!(rows(frames), 0, "one row a frame");
}

pub(crate) fn a_real_capture_becomes_rows() {
    let bytes = fs::read(data::file("csi/intel5300/csikit_los_5.dat")).expect("the capture");
    assert_eq!(n_frames(run(&bytes).path()), 1006);
}

pub(crate) fn another_reader_counts_the_same() {
    let bytes =
        fs::read(data::file("csi/intel5300/csiread_sample_0x1_ap.dat")).expect("the capture");
    let directory = run(&bytes);
    let script = "import sys, deltalake, pyarrow.compute as pc\n\
                  for name in sys.argv[2:]:\n\
                  \x20   t = deltalake.DeltaTable(f'{sys.argv[1]}/{name}').to_pyarrow_table()\n\
                  \x20   print(t.num_rows)\n\
                  print(pc.sum(pc.list_value_length(t['captured_at_ns'])))";
    let history = directory.path().join("history");
    let told = python::run(script, &[&history.to_string_lossy(), "presence", "csi"]);
    let told: Vec<i64> = told.lines().map(|line| line.parse().expect("a number")).collect();
    let rows = |table: &str| {
        let sql = format!("SELECT count(*) AS n FROM {table}");
        query(directory.path(), &sql)[0]["n"].as_i64().expect("a number")
    };
    assert_eq!(told, [rows("presence"), rows("csi"), n_frames(directory.path())]);
    assert_eq!(told[2], 540);
}

/// Rows go to a table of their own, with the columns that the pipeline gives them.
pub(crate) fn windows_become_rows() {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("poses.jsonl"), golden::poses()).expect("room");
    let pipeline = r#"
name = "devices"

[sources.seen]
type = "json"
transport = { file = "poses.jsonl" }
fields = { at_ms = "int", device = "text", confidence = "float" }
time = { field = "at_ms" }
max_delay = "200ms"

[operators.seconds]
type = "windows"
inputs = ["seen"]
key = ["device"]
window = { tumbling = { length = "1s" } }
aggregates = { n = "count", most = "max(confidence)" }

[sinks.history]
type = "delta"
inputs = ["seen", "seconds", "seconds.late"]
path = "history"
"#;
    fs::write(directory.path().join("devices.toml"), pipeline).expect("room");
    process::succeed(directory.path(), &["run", "devices.toml"]);
    let rows = query(directory.path(), "SELECT count(*) AS n FROM seen");
    assert_eq!(rows[0]["n"], 2000);
    let asked =
        "SELECT sum(n) AS n, max(most) AS most, count(DISTINCT device) AS devices FROM seconds";
    let windows = &query(directory.path(), asked)[0];
    let late = &query(directory.path(), "SELECT count(*) AS n FROM seconds_late")[0];
    assert!(late["n"].as_i64() > Some(0), "{late}");
    assert_eq!(windows["n"].as_i64().zip(late["n"].as_i64()).map(|(a, b)| a + b), Some(2000));
    assert_eq!((&windows["most"], &windows["devices"]), (&0.999.into(), &5.into()));
    for taken in ["poses", "rejected"] {
        let clash = pipeline.replace("seen", taken);
        fs::write(directory.path().join("devices.toml"), clash).expect("room");
        let said = process::fail(directory.path(), &["validate", "devices.toml"], 78);
        assert!(said.contains(&format!("the table \"{taken}\" is for other records")), "{said}");
    }
}
