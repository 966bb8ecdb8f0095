//! Runs that are killed at any moment, and started again with any number of workers: the output is that of
//! one uninterrupted run.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::golden;
use crate::support::postgres::Postgres;
use crate::support::{capture, cluster, lines, process};

/// A capture of half a minute at several times its speed, so that a kill happens in the middle.
pub(crate) const PIPELINE: &str = r#"
name = "flat"
checkpoint = { interval = "20ms", granule = "200ms" }

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }
speed = SPEED

[operators.clean]
type = "sanitize_phase"
inputs = ["laptop"]

[operators.motion]
type = "motion"
inputs = ["clean"]
report_every = "50ms"

[sinks.lines]
type = "json_lines"
inputs = ["motion", "clean"]
path = "out.jsonl"

[sinks.history]
type = "delta"
inputs = ["motion", "clean"]
path = "history"
commit_interval = "50ms"
"#;

/// Windows of three kinds over lines of JSON: killed at any moment, the output is that of one uninterrupted
/// run.
pub(crate) fn killed_windows_are_whole() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/windows.toml");
    let pipeline = fs::read_to_string(file).expect("the example").parse().expect("it is TOML");
    let pipeline = golden::rewrite(pipeline).to_string();
    let checkpoint = "checkpoint = { interval = \"20ms\", granule = \"300ms\" }\n";
    let write = |directory: &Path, speed: &str| {
        let text = pipeline.replace("speed = \"full\"", &format!("speed = {speed}"));
        fs::write(directory.join("windows.toml"), format!("{checkpoint}{text}")).expect("room");
    };
    let read = |directory: &Path| fs::read_to_string(directory.join("golden.jsonl"));
    let whole = golden::directory();
    write(whole.path(), "\"full\"");
    process::succeed(whole.path(), &["run", "windows.toml"]);
    let directory = golden::directory();
    write(directory.path(), "5.0");
    for nth in 0..20 {
        let pause = Duration::from_millis(60 + nth * 7919 % 300);
        let n_workers = (1 + nth % 3).to_string();
        process::kill_after(directory.path(), &["run", "windows.toml", "-w", &n_workers], pause);
    }
    write(directory.path(), "\"full\"");
    process::succeed(directory.path(), &["run", "windows.toml"]);
    let (found, expected) = (read(directory.path()), read(whole.path()));
    assert!(found.expect("it was written") == expected.expect("it was written"));
}

/// Returns a folder with the pipeline and its capture.
pub(crate) fn directory(speed: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    let capture = capture::intel5300();
    fs::write(directory.path().join("capture.dat"), capture).expect("room");
    fs::write(directory.path().join("flat.toml"), PIPELINE.replace("SPEED", speed)).expect("room");
    directory
}

/// Returns the output of a run: its lines, and the rows of each table ordered by time.
fn outputs(directory: &Path) -> [String; 3] {
    let rows = |sql| process::succeed(directory, &["sql", "--format", "json_lines", sql]);
    [
        fs::read_to_string(directory.join("out.jsonl")).expect("it was written"),
        rows("SELECT * FROM presence ORDER BY captured_at_ns"),
        rows("SELECT link, captured_at_ns, sequence, iq FROM csi ORDER BY captured_at_ns[1]"),
    ]
}

pub(crate) fn assert_same(directory: &Path, expected: &[String; 3]) {
    for (found, expected) in outputs(directory).iter().zip(expected) {
        let (n_found, n_expected) = (found.lines().count(), expected.lines().count());
        assert_eq!(n_found, n_expected, "lost or doubled");
        assert!(found == expected, "the same number of lines, but not the same lines");
    }
}

pub(crate) fn uninterrupted() -> [String; 3] {
    let directory = directory("\"full\"");
    process::succeed(directory.path(), &["run", "flat.toml"]);
    outputs(directory.path())
}

pub(crate) fn a_killed_run_loses_and_doubles_nothing() {
    const KILLS: u64 = 30;
    let expected = uninterrupted();
    let directory = directory("3.0");
    let mut n_interrupted = 0;
    for nth in 0..KILLS {
        // The kill happens between the opening of the files and well into the work. The number of workers
        // changes.
        let pause = Duration::from_millis(20 + nth * 7919 % 480);
        let n_workers = (1 + nth % 3).to_string();
        let arguments = ["run", "flat.toml", "--workers", &n_workers];
        n_interrupted += u32::from(process::kill_after(directory.path(), &arguments, pause));
    }
    assert!(n_interrupted >= 25, "only {n_interrupted} runs were killed before their end");
    let listed = process::succeed(directory.path(), &["checkpoint", "ls"]);
    assert!(listed.lines().count() > 1, "they went on from checkpoints:\n{listed}");
    fs::write(directory.path().join("flat.toml"), PIPELINE.replace("SPEED", "\"full\""))
        .expect("room");
    process::succeed(directory.path(), &["run", "flat.toml"]);
    assert_same(directory.path(), &expected);
    // A pipeline that has reached its end does nothing.
    let said = process::fresnel(directory.path(), &["run", "flat.toml"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("use --fresh to start it again"), "{said}");
    assert_same(directory.path(), &expected);
    // Dropping the state of one component keeps the state of the others.
    let (path, inspect) = (directory.path(), ["checkpoint", "inspect", "flat"]);
    process::succeed(path, &["run", "flat.toml", "--drop-state", "motion"]);
    let inspected = process::succeed(path, &inspect);
    assert!(inspected.contains("laptop") && !inspected.contains("motion"), "{inspected}");
}

/// The run dies just before or just after each durable step, once and twice in a row. Nothing is lost or
/// duplicated.
pub(crate) fn a_run_that_dies_at_a_durable_step_loses_and_doubles_nothing() {
    const POINTS: [&str; 8] = [
        "before commit/lines",
        "after commit/lines",
        "before commit/history",
        "after commit/history",
        "before checkpoint/",
        "after checkpoint/",
        "before trim/laptop",
        "after trim/laptop",
    ];
    let expected = uninterrupted();
    let dies = |directory: &Path, point: &str| {
        let output = process::fresnel_failing(directory, &["run", "flat.toml"], point);
        output.status.signal() == Some(6)
    };
    for (nth, point) in POINTS.iter().enumerate() {
        let directory = directory("30.0");
        assert!(dies(directory.path(), &format!("{point}:1")), "{point} was not passed");
        // A run may end before it passes this place again.
        dies(directory.path(), &format!("{point}:2"));
        dies(directory.path(), &format!("{}:1", POINTS[(nth + 3) % POINTS.len()]));
        process::succeed(directory.path(), &["run", "flat.toml"]);
        assert_same(directory.path(), &expected);
    }
}

/// Fails the syncs `FIRST` to `LAST` of upper files, and ends the process at the sync `DIES`.
const FAILING_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int file) {
    static int (*sync)(int);
    static int n;
    char link[64], path[4096];
    if (!sync) sync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (!strstr(path, ".jsonl.upper")) return sync(file);
    n++;
    if (n == DIES) abort();
    if (n < FIRST || n > LAST) return sync(file);
    errno = EIO;
    return -1;
}
"#;

/// Returns true if there is a compiler for [`FAILING_SYNC`].
pub(crate) fn may_compile() -> bool {
    Command::new("cc").arg("--version").output().is_ok_and(|it| it.status.success())
}

/// Syncs of a sink's upper file fail, and the run recovers or dies. Nothing is lost or duplicated.
pub(crate) fn a_failed_sync_loses_and_doubles_nothing() {
    let expected = uninterrupted();
    // The first sync happens when the file is opened.
    for (first, last, dies) in [(2, 2, 0), (2, 4, 0), (2, 4, 3), (2, 4, 5)] {
        let directory = directory("\"full\"");
        let path = directory.path();
        fs::write(path.join("sync.c"), FAILING_SYNC).expect("room");
        let mut compiler = Command::new("cc");
        compiler.current_dir(path).args(["-shared", "-fPIC", "-o", "sync.so", "sync.c", "-ldl"]);
        compiler.args([format!("-DFIRST={first}"), format!("-DLAST={last}")]);
        let compiled = compiler.arg(format!("-DDIES={dies}")).status();
        assert!(compiled.expect("there is a compiler").success());
        let library = path.join("sync.so").to_string_lossy().into_owned();
        let preload = [("LD_PRELOAD", &*library)];
        let output = process::fresnel_with(path, &["run", "flat.toml"], &preload);
        let said = String::from_utf8_lossy(&output.stderr);
        if dies == 0 {
            assert!(output.status.success() && said.contains("trying again"), "{said}");
        } else {
            assert_eq!(output.status.signal(), Some(6), "{said}");
            process::succeed(path, &["run", "flat.toml"]);
        }
        assert_same(path, &expected);
    }
}

/// A panic in one of several workers ends the process; nothing hangs, and the next run continues.
pub(crate) fn a_worker_that_panics_ends_the_run() {
    let expected = uninterrupted();
    let directory = directory("\"full\"");
    let arguments = ["run", "flat.toml", "--workers", "3"];
    let output = process::fresnel_failing(directory.path(), &arguments, "panic of a worker/:5");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(said.contains("panic of a worker"), "{said}");
    process::succeed(directory.path(), &arguments);
    assert_same(directory.path(), &expected);
}

/// A supervisor restarts a run that dies; the run continues from its checkpoint.
pub(crate) fn a_supervised_run_is_started_again() {
    let expected = uninterrupted();
    let directory = directory("10.0");
    let arguments = ["run", "flat.toml", "--supervise"];
    let output = process::fresnel_failing(directory.path(), &arguments, "after commit/history:8");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("starting it again"), "{said}");
    assert_same(directory.path(), &expected);
    let broken = process::fail(directory.path(), &["run", "nowhere.toml", "--supervise"], 78);
    assert!(!broken.contains("starting it again"), "{broken}");
    // A supervisor that receives SIGTERM stops its run in order.
    let slow = self::directory("1.0");
    let arguments = ["run", "flat.toml", "--supervise", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(slow.path(), &arguments);
    let lines = slow.path().join("out.jsonl");
    server.wait_until(|| fs::metadata(&lines).is_ok_and(|metadata| metadata.len() > 0));
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("laptop: "), "the run told what it did: {said}");
}

/// Two captures, so that one can be quarantined.
const CAPTURES: &str = r#"
name = "captures"
checkpoint = { interval = "10ms", granule = "200ms" }

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }
speed = 30.0

[sources.boards]
type = "csi"
format = "esp32"
transport = { file = "boards.csv" }
speed = 30.0

[sinks.lines]
type = "json_lines"
inputs = ["laptop", "boards"]
path = "out.jsonl"
"#;

/// A source that makes a run crash is quarantined, in whichever process it is. A later run reads it without a
/// loss, and repeats only records after the checkpoint.
pub(crate) fn a_source_that_makes_it_crash_is_left_alone() {
    let at = "panic after poll/boards:1";
    is_quarantined(
        |path, arguments| {
            let output = process::fresnel_failing(path, arguments, at);
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        },
        |path, arguments| drop(process::succeed(path, arguments)),
    );
    // Each source and the sink in a process of its own.
    is_quarantined(
        |path, arguments| {
            let [first, second, third] = cluster::start_failing::<3>(path, arguments, at);
            for (code, said) in [second.wait(), third.wait()] {
                assert_eq!(code, Some(0), "{said}");
            }
            first.wait()
        },
        cluster::succeed::<3>,
    );
}

/// Runs the pipeline once with a source that crashes it, and once without the crash.
fn is_quarantined(
    fail: impl Fn(&Path, &[&str]) -> (Option<i32>, String),
    succeed: impl Fn(&Path, &[&str]),
) {
    for read_before in [false, true] {
        let directory = directory("1.0");
        let path = directory.path();
        fs::write(path.join("boards.csv"), capture::esp32()).expect("room");
        fs::write(path.join("captures.toml"), CAPTURES).expect("room");
        if read_before {
            let arguments = ["run", "captures.toml", "--listen", "127.0.0.1:0"];
            let mut server = process::Server::start(path, &arguments);
            server.wait_until(|| lines::records(&path.join("out.jsonl")).len() > 100);
            assert_eq!(server.terminate().0, Some(0));
        }
        let (code, said) = fail(path, &["run", "captures.toml", "--supervise"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("quarantined, and still to be read: boards"), "{said}");
        let of = |receiver: &str| {
            let mut batches = lines::records(&path.join("out.jsonl"));
            batches.retain(|batch| batch["link"]["receiver"] == receiver);
            let frames = batches.iter().filter_map(|batch| batch["sequence"].as_array().cloned());
            let mut frames: Vec<_> = frames.flatten().filter_map(|it| it.as_u64()).collect();
            frames.sort_unstable();
            frames
        };
        assert!(of("laptop").len() > capture::N_FRAMES - 100, "it went on to the end");
        assert_eq!(of("boards").is_empty(), !read_before);
        assert!(of("boards").len() < capture::N_FRAMES / 2, "it did not get over that");
        succeed(path, &["run", "captures.toml"]);
        let all: Vec<_> = (0..capture::N_FRAMES as u64).collect();
        assert!(of("laptop") == all, "lost or doubled");
        let mut boards = of("boards");
        let n_found = boards.len();
        boards.dedup();
        assert!(boards == all, "lost");
        assert!(n_found - all.len() <= if read_before { 200 } else { 0 }, "{n_found} found");
    }
}

/// With a `PostgreSQL` server as the store, killed runs recover in the same way.
pub(crate) fn checkpoints_in_postgres_do_the_same() {
    let expected = uninterrupted();
    let (postgres, directory) = (Postgres::start(), directory("3.0"));
    let store = format!("checkpoint = {{ store = \"{}\",", postgres.url());
    let pipeline = |speed: &str| {
        let text = PIPELINE.replace("checkpoint = {", &store).replace("SPEED", speed);
        fs::write(directory.path().join("flat.toml"), text).expect("room");
    };
    pipeline("3.0");
    for nth in 0..6 {
        let pause = Duration::from_millis(300 + nth * 100);
        process::kill_after(directory.path(), &["run", "flat.toml"], pause);
    }
    let arguments = ["checkpoint", "ls", "--store", &postgres.url()];
    let listed = process::succeed(directory.path(), &arguments);
    assert!(listed.lines().count() > 1, "{listed}");
    pipeline("\"full\"");
    process::succeed(directory.path(), &["run", "flat.toml"]);
    assert_same(directory.path(), &expected);
    assert!(!directory.path().join("fresnel.db").exists(), "there is one store");
}

/// A source that is added to a pipeline has a backlog that is older than the output of the sinks. Its records
/// are late, but each is written once, at whatever moment a run is killed. The same applies to a source whose
/// state was dropped.
pub(crate) fn an_added_source_loses_nothing() {
    let path_of = tempfile::tempdir().expect("room");
    let path = path_of.path();
    let source = |name: &str| {
        format!(
            "[sources.{name}]\ntype = \"json\"\ntransport = {{ file = \"{name}.jsonl\" }}\n\
             fields = {{ at_ms = \"int\", n = \"int\" }}\ntime = {{ field = \"at_ms\" }}\nspeed = 20.0\n"
        )
    };
    let write = |names: &[&str]| {
        let head = "name = \"grow\"\ncheckpoint = { interval = \"20ms\", granule = \"100ms\" }\n";
        let sources: String = names.iter().map(|name| source(name)).collect();
        let text = format!(
            "{head}{sources}[sinks.lines]\ntype = \"json_lines\"\ninputs = {names:?}\npath = \"out.jsonl\"\n"
        );
        fs::write(path.join("grow.toml"), text).expect("room");
    };
    let rows = |numbers: std::ops::Range<i64>, at_ms: i64| -> String {
        let row = |n: i64| format!("{{\"at_ms\":{},\"n\":{n}}}\n", at_ms + n * 10);
        numbers.map(row).collect()
    };
    fs::write(path.join("first.jsonl"), rows(0..2000, 1_767_225_600_000)).expect("room");
    fs::write(path.join("second.jsonl"), rows(5000..6000, 1_767_222_000_000)).expect("room");
    let numbers = || {
        let rows = lines::records(&path.join("out.jsonl"));
        let mut numbers: Vec<_> = rows.iter().filter_map(|row| row["n"].as_i64()).collect();
        numbers.sort_unstable();
        numbers
    };
    let arguments = ["run", "grow.toml", "--listen", "127.0.0.1:0"];
    write(&["first"]);
    let mut server = process::Server::start(path, &arguments);
    server.wait_until(|| numbers().len() > 300);
    assert_eq!(server.terminate().0, Some(0));
    write(&["first", "second"]);
    for nth in 0..8 {
        process::kill_after(path, &arguments, Duration::from_millis(60 + nth * 97 % 250));
    }
    process::succeed(path, &["run", "grow.toml"]);
    assert!(numbers().into_iter().eq((0..2000).chain(5000..6000)), "lost or doubled");
}

/// A file that was replaced between two runs is read from its beginning, and nothing of it is lost.
pub(crate) fn a_replaced_file_is_read() {
    let directory = directory("5.0");
    let path = directory.path();
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(path, &arguments);
    server.wait_until(|| lines::records(&path.join("out.jsonl")).len() > 100);
    assert_eq!(server.terminate().0, Some(0));
    let capture = capture::intel5300();
    // Another file has the same records in another order.
    let half = capture.len() / 2 / (capture.len() / capture::N_FRAMES)
        * (capture.len() / capture::N_FRAMES);
    fs::write(path.join("capture.dat"), [&capture[half..], &capture[..half]].concat())
        .expect("room");
    fs::write(path.join("flat.toml"), PIPELINE.replace("SPEED", "\"full\"")).expect("room");
    let output = process::fresnel(path, &["run", "flat.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("was replaced"), "{said}");
    let counted = format!("laptop: {} records", capture::N_FRAMES);
    assert!(said.contains(&counted), "{said}");
    let frames = lines::records(&path.join("out.jsonl")).into_iter();
    let n_frames: usize = frames.filter_map(|it| Some(it["sequence"].as_array()?.len())).sum();
    assert!(n_frames > capture::N_FRAMES, "all of it, and some of the one before");
}

/// A pipeline with all operators is stopped and started with other numbers of workers. The output is that of
/// one run.
pub(crate) fn a_stopped_run_goes_on_with_other_workers() {
    let pipeline =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/demo.toml"));
    let pipeline = golden::rewrite(pipeline.expect("the example").parse().expect("it is TOML"));
    let run = |speed: &str, directory: &Path, n_workers: u8, stops: bool| {
        let checkpoint = "checkpoint = { interval = \"20ms\", granule = \"300ms\" }\n";
        let text = pipeline.to_string().replace("speed = \"full\"", &format!("speed = {speed}"));
        fs::write(directory.join("demo.toml"), format!("{checkpoint}{text}")).expect("room");
        let workers = n_workers.to_string();
        let arguments = ["run", "demo.toml", "--workers", &workers, "--listen", "127.0.0.1:0"];
        if stops {
            let mut server = process::Server::start(directory, &arguments);
            let before = lines(directory);
            server.wait_until(|| lines(directory) > before + 80);
            let (code, said) = server.terminate();
            assert_eq!(code, Some(0), "{said}");
        } else {
            process::succeed(directory, &arguments);
        }
        fs::read_to_string(directory.join("golden.jsonl")).expect("it was written")
    };
    let expected = {
        let directory = golden::directory();
        run("\"full\"", directory.path(), 1, false)
    };
    let directory = golden::directory();
    for n_workers in [1, 3, 2] {
        let so_far = run("6.0", directory.path(), n_workers, true);
        assert!(so_far.len() < expected.len(), "it was stopped before its end");
        assert!(expected.starts_with(&so_far), "with {n_workers} workers");
    }
    let whole = run("\"full\"", directory.path(), 1, false);
    assert!(whole == expected, "{} lines, not {}", whole.lines().count(), expected.lines().count());
}

fn lines(directory: &Path) -> usize {
    fs::read_to_string(directory.join("golden.jsonl")).unwrap_or_default().lines().count()
}

/// A run is suspended while another one takes over. When it resumes, it ends and writes nothing more.
pub(crate) fn a_run_that_was_taken_over_ends() {
    let expected = uninterrupted();
    let directory = directory("8.0");
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let mut first = process::Server::start(directory.path(), &arguments);
    let some = directory.path().join("out.jsonl");
    first.wait_until(|| fs::metadata(&some).is_ok_and(|metadata| metadata.len() > 0));
    let text = PIPELINE.replace("SPEED", "\"full\"");
    fs::write(directory.path().join("flat.toml"), text).expect("room");
    first.signal("STOP");
    // A run that is suspended during a commit holds the file's lock, which prevents a takeover.
    while !process::took_over(directory.path(), "flat.toml") {
        first.signal("CONT");
        first.signal("STOP");
    }
    assert_same(directory.path(), &expected);
    first.signal("CONT");
    let (code, said) = first.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("taken over") || said.contains("another run"), "{said}");
    assert_same(directory.path(), &expected);
}

/// State that does not fit a component's settings is refused with the component's name, until it is dropped.
/// A missing output file is refused as well.
pub(crate) fn state_that_does_not_fit_is_refused() {
    let directory = directory("0.5");
    let path = directory.path();
    let checkpoints = || process::fresnel(path, &["checkpoint", "inspect", "flat"]).stdout;
    let saved = || String::from_utf8_lossy(&checkpoints()).contains(", 75 frames");
    let mut server = process::Server::start(path, &["run", "flat.toml", "--listen", "127.0.0.1:0"]);
    server.wait_until(saved);
    assert_eq!(server.terminate().0, Some(0));
    let listed = process::succeed(path, &["checkpoint", "ls"]);
    assert!(listed.lines().count() > 1 && listed.contains("flat"), "{listed}");
    let changed = fs::read_to_string(path.join("flat.toml")).expect("it is there");
    let changed = changed.replace("report_every", "window_frames = 50\nreport_every");
    fs::write(path.join("flat.toml"), changed.replace("speed = 0.5", "speed = \"full\""))
        .expect("room");
    let said = process::fail(path, &["run", "flat.toml"], 1);
    for expected in ["\"motion\" saved", "75 frames", "and needs", "50 frames", "--drop-state"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    process::succeed(path, &["run", "flat.toml", "--drop-state", "motion"]);
    fs::remove_file(path.join("out.jsonl")).expect("it is there");
    let said = process::fail(path, &["run", "flat.toml"], 1);
    assert!(said.contains("0 bytes, but"), "{said}");
}
