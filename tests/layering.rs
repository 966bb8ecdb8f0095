//! Rules for the dependencies of the crates: they point one way, and few crates may use a heavy one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates of the workspace that each crate may use.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("schemas", &[]),
    ("storage", &[]),
    ("identity", &[]),
    ("registry", &[]),
    ("sources", &["schemas", "registry"]),
    ("vision", &[]),
    ("operators", &["schemas", "vision"]),
    ("sinks", &["schemas", "storage", "registry"]),
    ("queries", &["schemas", "storage"]),
    ("offline", &["schemas", "sources", "operators"]),
    ("engine", &["schemas", "identity", "sources", "operators", "sinks", "queries"]),
    ("api", &["schemas", "identity", "queries", "engine"]),
    (
        "fresnel",
        &[
            "api", "engine", "identity", "offline", "queries", "schemas", "sources", "storage",
            "vision",
        ],
    ),
];

/// Crates that may use a heavy dependency.
const HOMES: [(&str, &[&str]); 21] = [
    ("argon2", &["identity"]),
    ("jsonwebtoken", &["identity"]),
    ("burn", &["operators", "vision"]),
    ("burn-store", &["operators"]),
    ("differential-dataflow", &["operators"]),
    ("timely", &["operators", "engine"]),
    ("datafusion", &["queries"]),
    ("deltalake", &["queries", "sinks", "storage"]),
    ("object_store", &["storage"]),
    ("pgwire", &["api"]),
    ("axum", &["api"]),
    ("hyper", &["api"]),
    ("hyper-util", &["api"]),
    ("clap", &["fresnel"]),
    ("mio", &["sources"]),
    ("nix", &["sources", "queries", "api", "fresnel"]),
    ("plotters", &["offline"]),
    ("rdkafka", &["sources", "sinks"]),
    ("rumqttc", &["sources"]),
    ("serialport", &["sources"]),
    ("sqlx", &["engine"]),
];

pub(crate) fn crates_use_what_they_may() {
    let uses = dependencies();
    let members: Vec<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(uses.len(), members.len(), "every crate has a fence: {:?}", uses.keys());
    for (member, allowed) in MAY_USE {
        for used in uses[member].iter().filter(|used| members.contains(&used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{member} must not use {used}");
        }
    }
    for (heavy, homes) in HOMES {
        for (member, uses) in &uses {
            let uses = uses.iter().any(|used| used == heavy);
            assert!(!uses || homes.contains(&member.as_str()), "{member} must not use {heavy}");
        }
    }
}

/// Other modules that each module of `sources` may use.
const ROOMS: [(&str, &[&str]); 7] = [
    ("journal", &[]),
    ("framing", &[]),
    ("formats", &["framing"]),
    ("partitions", &["journal", "formats"]),
    ("transports", &["journal", "framing", "formats", "partitions"]),
    ("simulate", &["partitions"]),
    ("video", &["partitions"]),
];

/// Dependencies between the modules of `sources` point one way; only tests may break this rule.
pub(crate) fn rooms_of_sources_use_what_they_may() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("sources/src");
    for (room, allowed) in ROOMS {
        let forbidden = ROOMS.map(|(other, _)| other);
        let forbidden =
            forbidden.iter().filter(|other| **other != room && !allowed.contains(other));
        let mut forbidden: Vec<_> = forbidden.map(|other| format!("crate::{other}::")).collect();
        if !allowed.contains(&"partitions") && room != "partitions" {
            forbidden.push("Collector".to_owned());
        }
        let texts = code_of(&sources.join(room));
        assert!(!texts.is_empty(), "{room} is there");
        for (file, text) in texts {
            let found = forbidden.iter().find(|forbidden| text.contains(forbidden.as_str()));
            assert_eq!(found, None, "in {}", file.display());
        }
    }
}

/// Returns the source files below a folder, without their tests.
fn code_of(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).expect("it is a folder").flatten();
    let texts = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return code_of(&path);
        }
        let text = fs::read_to_string(&path).expect("it is text");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
        let is_of_tests = ["tests.rs", "testing.rs", "robustness.rs"].iter();
        let is_of_tests = is_of_tests.map(Path::new).any(|name| path.ends_with(name));
        if is_of_tests { Vec::new() } else { vec![(path, code)] }
    });
    texts.collect()
}

/// Returns the dependencies of each crate of the workspace, except those of its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo is there");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list").iter();
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list").iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (name(package), normal.map(name).collect())
        })
        .collect()
}
