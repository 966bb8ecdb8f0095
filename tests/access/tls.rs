//! Connections with TLS, and HTTP/2.

use std::path::Path;
use std::process::Command;

use crate::access::{Guarded, PIPELINE};
use crate::support::process;

/// Makes a certificate of `localhost`, and its key.
pub(crate) fn certificate(folder: &Path, name: &str) {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    let made = Command::new("openssl").current_dir(folder).args(arguments).output();
    assert!(made.expect("there is openssl").status.success());
}

fn curl(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.current_dir(folder).args(["--silent", "--show-error"]).args(arguments);
    let output = command.output().expect("there is curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A server listens with TLS and without, and speaks HTTP/1 and HTTP/2 on both.
pub(crate) fn connections_may_be_encrypted() {
    let directory = tempfile::tempdir().expect("room");
    let folder = directory.path();
    certificate(folder, "own");
    certificate(folder, "other");
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = |certificate: &str, key: &str| {
        let (certificate, key) = (at(certificate), at(key));
        format!(
            "tls = {{ listen = \"127.0.0.1:0\", certificate = \"{certificate}\", key = \"{key}\" }}"
        )
    };
    let guarded = Guarded::start_api(&settings("own.pem", "own.key"));
    let line = guarded.said.lines().find_map(|line| line.strip_prefix("listening on https://"));
    let encrypted = format!("https://{}/api/v1/auth/me", line.expect("it listens with TLS"));
    let plain = format!("http://{}/api/v1/auth/me", guarded.server.address);
    let key = format!("Authorization: Bearer {}", guarded.key("pose:read"));
    let version = ["--write-out", "\n%{http_version} %{http_code}", "--header", &key];
    for (url, protocol, expected) in [
        (&encrypted, "--http2", "2 200"),
        (&encrypted, "--http1.1", "1.1 200"),
        (&plain, "--http2-prior-knowledge", "2 200"),
        (&plain, "--http1.1", "1.1 200"),
    ] {
        let said = curl(folder, &[&["--cacert", "own.pem", protocol, url], &version[..]].concat());
        assert!(said.ends_with(expected), "{url} {protocol}: {said}");
    }
    let user = format!("{{\"username\": \"admin\", \"password\": \"{}\"}}", guarded.password);
    let session = encrypted.replace("/me", "/session");
    let jar = ["--cacert", "own.pem", "--cookie-jar", "jar", "--cookie", "jar"];
    curl(folder, &[&jar[..], &[&session, "--json", &user]].concat());
    let me = curl(folder, &[&jar[..], &[&encrypted]].concat());
    assert!(me.contains("\"name\":\"admin\""), "{me}");
    guarded.server.signal("KILL");
    for (certificate, key, words) in [
        ("own.pem", "other.key", "do not fit"),
        ("nowhere.pem", "own.key", "nowhere.pem"),
        ("own.key", "own.key", "own.key"),
    ] {
        let pipeline = PIPELINE.replace("token_algorithm = \"EdDSA\"", &settings(certificate, key));
        std::fs::write(folder.join("flat.toml"), pipeline).expect("room");
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let _ = std::os::unix::fs::symlink(pipelines, folder.join("pipelines"));
        let said = process::fail(folder, &["run", "flat.toml", "--listen", "127.0.0.1:0"], 1);
        assert!(said.contains(words), "{certificate} {key}: {said}");
    }
}
