//! `fresnel users` and `fresnel keys`, and pipelines without credentials.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::access::{Guarded, PIPELINE};
use crate::support::process::{self, Server};
use crate::support::wait;

/// The commands add, list and remove users and keys, while the pipeline runs.
pub(crate) fn users_and_keys_are_managed() {
    let guarded = Guarded::start();
    let password = guarded.fresnel(&["users", "add", "ann", "--role", "viewer"]);
    let (status, tokens) = guarded
        .server
        .post("/api/v1/auth/token", &json!({ "username": "ann", "password": password }));
    assert_eq!(status, 200, "{tokens}");
    let tokens: Value = serde_json::from_str(&tokens).expect("JSON");
    assert_eq!(tokens["scope"], "pose:read analytics:read system:read stream:subscribe");
    let access = tokens["access_token"].as_str().expect("a token");
    assert_eq!(guarded.status("/api/v1/system/health", access), 200);
    let path = guarded.directory.path();
    let said = process::fail(path, &["users", "add", "ann"], 1);
    assert!(said.contains("exists"), "{said}");
    let said = process::fail(path, &["users", "add", "a b"], 1);
    assert!(said.contains("no name"), "{said}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_fresnel"))
        .current_dir(path)
        .args(["users", "password", "ann", "--password-stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(b"a password of ann\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    wait::until("her session ends", || guarded.status("/api/v1/auth/me", access) == 401);
    let user = json!({ "username": "ann", "password": "a password of ann" });
    assert_eq!(guarded.server.post("/api/v1/auth/token", &user).0, 200);
    let users = guarded.fresnel(&["users", "ls"]);
    assert!(
        users.contains("ann") && users.contains("viewer") && users.contains("admin"),
        "{users}"
    );
    guarded.fresnel(&["users", "rm", "ann"]);
    wait::until("she is gone", || guarded.server.post("/api/v1/auth/token", &user).0 != 200);
    let said = process::fail(path, &["users", "rm", "ann"], 1);
    assert!(said.contains("no user \"ann\""), "{said}");
    let key = guarded.key("system:read");
    let keys = guarded.fresnel(&["keys", "ls"]);
    let id = key.split('_').nth(2).expect("an id");
    assert!(keys.contains(id) && keys.contains("system:read") && !keys.contains(&key), "{keys}");
    let said = process::fail(path, &["keys", "add", "x", "--scopes", "pose:write"], 2);
    assert!(said.contains("pose:write") && said.contains("pose:read"), "{said}");
    let health = |key: &str| {
        let arguments = ["health", &guarded.server.address];
        let output = process::fresnel_with(path, &arguments, &[("FRESNEL_API_KEY", key)]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(health(&key), "healthy");
    assert_eq!(
        guarded.fresnel(&["health", &guarded.server.address]),
        "ready (without an API key, the health is not shown)"
    );
    let said = process::fail(path, &["keys", "ls", "--store", "nowhere.db"], 1);
    assert!(said.contains("not found"), "{said}");
}

/// Only a server that nobody else can reach may ask for no credentials.
pub(crate) fn only_loopback_is_open() {
    let directory = tempfile::tempdir().expect("room");
    let write = |api: &str| {
        let pipeline = PIPELINE.replace("api = { token_algorithm = \"EdDSA\" }", api);
        fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
    };
    write("api = { auth = \"off\", listen = \"0.0.0.0:8080\" }");
    let said = process::fail(directory.path(), &["validate", "flat.toml"], 78);
    assert!(said.contains("auth = \"off\"") && said.contains("127.0.0.1:8080"), "{said}");
    write("api = { auth = \"off\" }");
    let said = process::fail(directory.path(), &["run", "flat.toml", "--listen", "0.0.0.0:0"], 1);
    assert!(said.contains("auth = \"off\""), "{said}");
    let mut demo = Server::start(directory.path(), &["demo", "--listen", "0.0.0.0:0"]);
    demo.wait_for_words(&["first start", "admin"]);
}
