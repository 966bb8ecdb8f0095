//! What the documentation says about access.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::access::Guarded;
use crate::http;
use crate::support::python;

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

/// A client of Python that is generated from the document signs in with a key, reads and changes.
pub(crate) fn a_generated_client_uses_the_api() {
    let guarded = Guarded::start();
    let folder = tempfile::tempdir().expect("room");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let script = r"
import os, subprocess, sys
folder, url, key, document = sys.argv[1:]
generator = os.path.join(os.path.dirname(sys.executable), 'openapi-python-client')
arguments = ['generate', '--path', document, '--output-path', folder + '/generated', '--meta', 'none']
subprocess.run([generator, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sys.path.insert(0, folder)
from generated import AuthenticatedClient, Client
from generated.api.default import config_zones, current, make_report, me, report, set_router, status, zones
from generated.models import NewRouter, Problem, ReportRequest, ReportType
client = AuthenticatedClient(base_url=url, token=key)
assert me.sync(client=client).kind == 'key'
assert [zone.name for zone in config_zones.sync(client=client)] == ['hall']
assert [zone.zone_id for zone in zones.sync(client=client)] == ['hall']
assert status.sync(client=client).status in ('healthy', 'degraded')
assert current.sync_detailed(client=client).status_code in (200, 404)
stored = set_router.sync('rx0', client=client, body=NewRouter(name='Hall', position=[1.0, 2.0]))
assert (stored.name, stored.position, stored.enabled) == ('Hall', [1.0, 2.0], True)
made = make_report.sync(client=client, body=ReportRequest(type_=ReportType.OCCUPANCY))
assert report.sync(made.report_id, client=client).report_id == made.report_id
refused = zones.sync_detailed(client=Client(base_url=url))
assert refused.status_code == 401
print('done')";
    let url = format!("http://{}", guarded.server.address);
    let key = guarded.key("admin:all");
    let folder = folder.path().display().to_string();
    let arguments = [&folder, &url, &key, &document.display().to_string()];
    assert_eq!(python::run(script, &arguments.map(String::as_str)), "done");
}
