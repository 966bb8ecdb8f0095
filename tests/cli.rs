//! The commands that need no pipeline of their own.

use std::fs;
use std::path::Path;

use crate::support::process::{self, Server};

/// Completions and manual pages cover every command.
pub(crate) fn commands_are_documented() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    for shell in ["bash", "zsh", "fish"] {
        let script = process::succeed(path, &["completions", shell]);
        assert!(script.contains("fresnel") && script.contains("checkpoint"), "{shell}: {script}");
    }
    process::succeed(path, &["man", "man1"]);
    for page in ["fresnel.1", "fresnel-run.1", "fresnel-sql.1"] {
        let page = fs::read_to_string(path.join("man1").join(page)).expect("a page");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}

/// A graph has all components in each of its formats.
pub(crate) fn graphs_have_three_formats() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (format, words) in
        [("text", "├─ csi → pose"), ("dot", "\"room\" -> \"pose\""), ("mermaid", "flowchart LR")]
    {
        let graph = process::succeed(root, &["graph", "pipelines/demo.toml", "--format", format]);
        assert!(graph.contains(words), "{format}: {graph}");
        for component in ["room", "pose", "people", "zones", "activity", "history", "live"] {
            assert!(graph.contains(component), "{format}: {component}\n{graph}");
        }
    }
}

/// An address is as short as the user likes, and a wrong one is explained.
pub(crate) fn addresses_of_running_pipelines_can_be_short() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let server = Server::start(path, &["demo", "--listen", ":0"]);
    let port = server.address.rsplit(':').next().expect("a port");
    for address in
        [format!(":{port}"), format!("localhost:{port}"), format!("http://127.0.0.1:{port}/")]
    {
        let table = process::succeed(path, &["top", &address]);
        assert!(table.starts_with("component "), "{table}");
        assert!(table.contains("drop/s") && table.contains("\npose"), "{table}");
    }
    assert_eq!(process::succeed(path, &["health", &format!(":{port}")]), "healthy\n");
    process::fail(path, &["health", "127.0.0.1:1"], 1);
    let said = process::fail(path, &["tap", "nowhere", &format!(":{port}")], 1);
    assert!(said.contains("expected one of") && said.contains("zones.events"), "{said}");
    let said = process::fail(path, &["top", "127.0.0.1:1"], 1);
    assert!(said.contains("expected a running pipeline"), "{said}");
}
