//! What the documentation says about access.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::access::Guarded;
use crate::http;

/// The OpenAPI document is true for clients with a key and for others.
pub(crate) fn the_document_is_true() {
    let guarded = Guarded::start();
    let key = format!("Authorization: Bearer {}", guarded.key("admin:all"));
    http::check_document(guarded.directory.path(), &guarded.server, &["--header", &key]);
    // A client without a key cannot read the document, so it has a copy.
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let url = format!("--url=http://{}", guarded.server.address);
    http::check_document_at(&document.to_string_lossy(), guarded.directory.path(), &[&url]);
}

/// Every command in the documentation of access does what the page says.
pub(crate) fn the_documented_commands_work() {
    let guarded = Guarded::start();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/access.md");
    let page = fs::read_to_string(page).expect("it is there");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: String = blocks.collect();
    assert!(commands.lines().count() > 15, "{commands}");
    let program = Path::new(env!("CARGO_BIN_EXE_fresnel")).parent().expect("a folder");
    let script = format!(
        "set -euo pipefail; PATH={}:$PATH; curl() {{ command curl --silent --show-error --fail \"$@\"; }}\n{}",
        program.display(),
        commands.replace("localhost:8080", &guarded.server.address)
    );
    let output =
        Command::new("bash").args(["-c", &script]).current_dir(guarded.directory.path()).output();
    let output = output.expect("there is bash");
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    for words in ["viewer", "grafana", "healthy", "\"name\":\"ann\""] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
