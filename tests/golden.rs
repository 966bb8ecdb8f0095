//! Golden files: the output of each example pipeline for a made-up input, with any number of workers.
//!
//! A pipeline's sources are replaced by seeded ones of the same kind, its sinks by one JSON Lines file. All
//! records must be the same bytes with 1, 2 and 4 workers, with 2 processes, and beside programs that use all
//! processors. Records that are not raw numbers of a neural network are compared with `tests/golden/`, which
//! `UPDATE_GOLDEN=1` renews.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use toml::{Table, Value};

use crate::support::{capture, cluster, process};

/// 2026-01-01.
const STARTS_AT_S: i64 = 1_767_225_600;
const DURATION: &str = "25s";

pub(crate) fn worker_counts_do_not_matter() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let files = fs::read_dir(pipelines).expect("pipelines are there");
    let files = files.map(|file| file.expect("it can be listed").path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("it can be read");
        // `clips.rs` runs the pipelines with a camera, which need weights.
        if !text.contains("type = \"video\"") {
            check(&file, &text);
        }
    }
}

fn check(pipeline: &Path, text: &str) {
    let name = pipeline.file_stem().expect("a file").to_string_lossy().into_owned();
    let directory = directory();
    let rewritten = rewrite(text.parse().expect("it is TOML"));
    fs::write(directory.path().join("golden.toml"), rewritten.to_string()).expect("room");
    let expected = output(directory.path(), &name);
    let hogs = process::Hogs::start(4);
    process::succeed(directory.path(), &["run", "golden.toml", "--fresh", "--workers", "2"]);
    drop(hogs);
    assert!(written(directory.path()) == expected, "{name} differs under load");
    compare(&name, &expected);
}

/// Two operators differ only in their settings, so their records tie in time, place and link. The order of
/// the records does not depend on the number of workers.
pub(crate) fn records_that_tie_have_an_order() {
    let directory = directory();
    fs::write(directory.path().join("golden.toml"), TIES).expect("room");
    let output = output(directory.path(), "ties");
    assert!(output.lines().any(|line| line.contains("\"threshold\":0.5")), "{output}");
    assert!(output.lines().any(|line| line.contains("\"threshold\":0.25")), "{output}");
}

const TIES: &str = r#"
name = "ties"

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { file = "intel5300" }
speed = "full"

[operators.one]
type = "motion"
inputs = ["laptop"]
threshold = 0.5

[operators.other]
type = "motion"
inputs = ["laptop"]
threshold = 0.25

[sinks.golden]
type = "json_lines"
inputs = ["one", "other"]
path = "golden.jsonl"
"#;

/// Returns the output of `golden.toml`, which must be the same with 1, 2 and 4 workers and with 2 processes.
fn output(directory: &Path, name: &str) -> String {
    let outputs = [1, 2, 4].map(|n_workers: usize| {
        let n_workers = n_workers.to_string();
        process::succeed(directory, &["run", "golden.toml", "--fresh", "--workers", &n_workers]);
        written(directory)
    });
    assert!(outputs[0].lines().count() > 10, "{name} gives something");
    for (output, n_workers) in outputs.iter().zip([1, 2, 4]) {
        assert!(*output == outputs[0], "{name} differs with {n_workers} workers");
    }
    cluster::succeed::<2>(directory, &["run", "golden.toml", "--fresh"]);
    assert!(written(directory) == outputs[0], "{name} differs with 2 processes");
    let [output, ..] = outputs;
    output
}

fn written(directory: &Path) -> String {
    fs::read_to_string(directory.join("golden.jsonl")).expect("it was written")
}

/// Returns a folder with all files that pipelines refer to.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["pipelines", "models"] {
        std::os::unix::fs::symlink(root.join(folder), directory.path().join(folder))
            .expect("a link");
    }
    fs::write(directory.path().join("intel5300"), capture::intel5300()).expect("room");
    fs::write(directory.path().join("esp32"), capture::esp32()).expect("room");
    fs::write(directory.path().join("poses"), poses()).expect("room");
    directory
}

/// Returns lines of poses by five devices over twenty seconds, some out of order, a few of them late.
pub(crate) fn poses() -> String {
    let lines = (0..2000_i64).map(|nth| {
        let lag_ms = nth * 7919 % 200 + if nth % 97 == 0 { 800 } else { 0 };
        let at_ms = STARTS_AT_S * 1000 + nth * 10 - lag_ms;
        let (device, confidence) = (nth * 31 % 17 % 5, (nth * 613 % 1000) as f64 / 1000.0);
        format!(
            "{{\"at_ms\":{at_ms},\"device\":\"dev{device}\",\"persons\":[],\"confidence\":{confidence}}}\n"
        )
    });
    lines.collect()
}

/// Returns the same pipeline with seeded sources and one sink.
pub(crate) fn rewrite(mut pipeline: Table) -> Table {
    pipeline.remove("api");
    for (_, source) in pipeline["sources"].as_table_mut().expect("sources") {
        let source = source.as_table_mut().expect("a source");
        source.insert("speed".into(), "full".into());
        let is_json = source["type"].as_str() == Some("json");
        let file = if is_json { Some("poses".into()) } else { source.get("format").cloned() };
        if let Some(file) = file {
            source.insert("transport".into(), Table::from_iter([("file".to_owned(), file)]).into());
        } else {
            source.insert("starts_at_s".into(), STARTS_AT_S.into());
            source.insert("duration".into(), DURATION.into());
        }
    }
    let sinks = pipeline["sinks"].as_table().expect("sinks").values();
    let inputs = sinks.flat_map(|sink| sink["inputs"].as_array().expect("inputs"));
    let inputs: BTreeSet<_> = inputs.map(|input| input.as_str().expect("a name")).collect();
    let sink = Table::from_iter([
        ("type".to_owned(), "json_lines".into()),
        ("inputs".to_owned(), Value::Array(inputs.into_iter().map(Value::from).collect())),
        ("path".to_owned(), "golden.jsonl".into()),
    ]);
    pipeline.insert("sinks".into(), Table::from_iter([("golden".to_owned(), sink.into())]).into());
    pipeline
}

fn compare(name: &str, output: &str) {
    let raw = ["{\"record\":\"pose\"", "{\"record\":\"csi\""];
    let lines = output.lines().filter(|line| !raw.iter().any(|raw| line.starts_with(raw)));
    let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.jsonl"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &lines).expect("it can be written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differs = golden.lines().zip(lines.lines()).find(|(golden, line)| golden != line);
    assert!(golden == lines, "tests/golden/{name}.jsonl differs, first in\n{differs:#?}");
}
