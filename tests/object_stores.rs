//! Histories in buckets of object stores.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::object_store::ObjectStore;
use crate::support::process::{self, Server};
use crate::support::{python, wait};

/// Frames of the recording, at 10 a second.
const N_FRAMES: i64 = 600;

/// A pipeline that writes a minute of truth to a history.
fn pipeline(name: &str, history: &str, speed: &str) -> String {
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/scenes/flat.toml");
    format!(
        "name = \"{name}\"\n\
         api = {{ listen = \"127.0.0.1:0\", auth = \"off\" }}\n\
         checkpoint = {{ interval = \"200ms\" }}\n\
         sources.room = {{ type = \"simulate\", scene = \"{}\", duration = \"60s\", starts_at_s = 1800000000{speed} }}\n\
         sinks.history = {{ type = \"delta\", inputs = [\"room.truth\"], path = \"{history}\", commit_interval = \"200ms\" }}\n",
        scene.display()
    )
}

fn directory(name: &str, history: &str, speed: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("flat.toml"), pipeline(name, history, speed)).expect("room");
    directory
}

/// Runs the program with the environment of a store; it must succeed.
fn fresnel(store: &ObjectStore, directory: &Path, arguments: &[&str]) -> String {
    let output = process::fresnel_with(directory, arguments, &store.variables());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the number of frames of a history, and the number of different ones; nothing before its first commit.
fn counts(store: &ObjectStore, history: &str) -> (i64, i64) {
    let sql = "SELECT count(*) AS n, count(DISTINCT captured_at_ns) AS n_different FROM poses";
    let folder = tempfile::tempdir().expect("room");
    let arguments = ["sql", "--history", history, "--format", "json", sql];
    let output = process::fresnel_with(folder.path(), &arguments, &store.variables());
    if String::from_utf8_lossy(&output.stderr).contains("no history in") {
        return (0, 0);
    }
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let count = |name: &str| rows[0][name].as_i64().expect("a number");
    (count("n"), count("n_different"))
}

/// A run that is killed again and again leaves each frame once, in S3 and in Google Cloud Storage.
pub(crate) fn a_history_is_exact() {
    for store in [ObjectStore::s3(), ObjectStore::gcs()] {
        let directory = directory("flat", store.url, "");
        let path = directory.path();
        for fail_point in
            ["after commit/history:3", "before commit/history:2", "after commit/history:1"]
        {
            let mut variables = store.variables();
            variables.push(("FRESNEL_FAIL_POINT", fail_point));
            process::fresnel_with(path, &["run", "flat.toml"], &variables);
        }
        fresnel(&store, path, &["run", "flat.toml"]);
        assert_eq!(counts(&store, store.url), (N_FRAMES, N_FRAMES), "{}", store.url);
        fresnel(&store, path, &["forget", "--history", store.url, "p1"]);
        let sql = "SELECT count(*) AS n FROM persons WHERE person = 'p1'";
        let arguments = ["sql", "--history", store.url, "--format", "json", sql];
        assert_eq!(fresnel(&store, path, &arguments).trim(), "[{\"n\":0}]");
    }
}

/// Pipelines of several processes append to the same tables at the same time.
pub(crate) fn several_processes_share_a_history() {
    let store = ObjectStore::s3();
    let directories = ["a", "b", "c"].map(|name| directory(name, store.url, ""));
    std::thread::scope(|scope| {
        for directory in &directories {
            scope.spawn(|| fresnel(&store, directory.path(), &["run", "flat.toml"]));
        }
    });
    assert_eq!(counts(&store, store.url), (3 * N_FRAMES, N_FRAMES));
}

/// A store that stops answering for a while delays the run, which says so, and loses nothing.
pub(crate) fn an_outage_is_waited_for() {
    let mut store = ObjectStore::s3();
    let directory = directory("flat", store.url, ", speed = 10");
    let path = directory.path();
    let mut server = Server::start_with(
        path,
        &["run", "flat.toml", "--listen", "127.0.0.1:0"],
        &store.variables(),
    );
    server.wait_until(|| counts(&store, store.url).0 > 0);
    store.stop();
    server.wait_for_words(&["trying again"]);
    wait::until("the outage is reported", || {
        server.get("/api/v1/system/health").1.contains("outage")
    });
    // More often than a sink tries again after other errors.
    for _ in 0..7 {
        server.wait_for_words(&["trying again"]);
    }
    store.start_again();
    let (code, said) = server.wait();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counts(&store, store.url), (N_FRAMES, N_FRAMES));
}

/// Wrong places and credentials are reported before anything runs.
pub(crate) fn mistakes_are_reported() {
    let store = ObjectStore::s3();
    let wrong = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    let nobody = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    let no_url = [("AWS_ENDPOINT_URL", "127.0.0.1:9000")];
    let no_http = [("AWS_ALLOW_HTTP", "false")];
    for (history, variables, words) in [
        (store.url, &wrong[..], "the store refuses AWS_SECRET_ACCESS_KEY"),
        ("s3://nowhere/history", &[], "there is no such bucket"),
        (store.url, &nobody, "could not use s3://lake/history"),
        (store.url, &no_url, "expected a URL, such as http://127.0.0.1:9000"),
        (store.url, &no_http, "AWS_ALLOW_HTTP=true"),
    ] {
        let directory = directory("flat", history, "");
        let environment = [&store.variables()[..], variables].concat();
        let output = process::fresnel_with(directory.path(), &["run", "flat.toml"], &environment);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words) && !said.contains("secret of"), "{said}");
    }
    let directory = directory("flat", "ftp://lake/history", "");
    let said = process::fail(directory.path(), &["validate", "flat.toml"], 78);
    assert!(said.contains("expected a folder, or a URL with s3://, gs://"), "{said}");
    let folder = tempfile::tempdir().expect("room");
    let arguments = ["sql", "--history", "s3://lake/empty", "SELECT 1"];
    let output = process::fresnel_with(folder.path(), &arguments, &store.variables());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no history in \"s3://lake/empty\""));
}

/// Queries over HTTP see rows in the bucket, and those that are not there yet.
pub(crate) fn live_rows_are_seen() {
    let store = ObjectStore::s3();
    let directory = directory("flat", store.url, ", speed = \"recorded\"");
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let server = Server::start_with(directory.path(), &arguments, &store.variables());
    let frames = || {
        let query = json!({ "q": "SELECT count(*) AS n FROM poses" });
        let (status, rows) = server.post("/api/v1/sql", &query);
        assert_eq!(status, 200, "{rows}");
        let rows: Value = serde_json::from_str(&rows).expect("JSON");
        rows[0]["n"].as_i64().expect("a number")
    };
    let committed = || counts(&store, store.url).0;
    wait::until("some rows are in the bucket", || frames() > 0 && committed() > 0);
    let before = committed();
    assert!(frames() >= before, "no row is lost between the bucket and the tail");
    let (status, page) = server.get("/api/v1/pose/history?limit=1&start_time=2020-01-01T00:00:00Z&end_time=2200-01-01T00:00:00Z");
    assert_eq!(status, 200, "{page}");
}

/// Another implementation of the table format reads the bucket.
pub(crate) fn others_read_the_tables() {
    let store = ObjectStore::s3();
    let directory = directory("flat", store.url, "");
    fresnel(&store, directory.path(), &["run", "flat.toml"]);
    let script = r"
import json, sys
from deltalake import DeltaTable
options = json.loads(sys.argv[2])
print(DeltaTable(sys.argv[1] + '/poses', storage_options=options).to_pyarrow_table().num_rows)";
    let options: serde_json::Map<_, _> = store
        .variables()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let options = Value::Object(options).to_string();
    assert_eq!(python::run(script, &[store.url, &options]), N_FRAMES.to_string());
}
