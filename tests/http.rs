//! The edges of the API: errors, content negotiation and compression.

use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;
use ureq::Body;
use ureq::http::Response;

use crate::support::process::Server;
use crate::support::python;

fn start() -> (TempDir, Server) {
    let directory = tempfile::tempdir().expect("room");
    let server = Server::start(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
    (directory, server)
}

/// Sends a request with a header, whatever the status of the response.
fn request(
    server: &Server,
    (method, path): (&str, &str),
    (name, value): (&str, &str),
    body: &str,
) -> Response<Body> {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.address))
        .header(name, value)
        .header("content-type", "application/json")
        .body(body.to_owned())
        .expect("a request");
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    agent.run(request).expect("the server responds")
}

fn header(response: &Response<Body>, name: &str) -> String {
    let value = response.headers().get(name).map(|value| value.to_str().expect("text"));
    value.unwrap_or_default().to_owned()
}

/// Every error has a body of problem details, whichever part of the server has found it.
pub(crate) fn errors_are_problem_details() {
    let (_directory, server) = start();
    let any = ("accept", "*/*");
    for (method, path, expected, words) in [
        ("GET", "/nowhere", 404, "/nowhere"),
        ("GET", "/api/v1/nowhere", 404, "openapi.json"),
        ("DELETE", "/api/v1/system/health", 405, "DELETE"),
        ("PUT", "/api/v1/sql", 405, "PUT"),
        ("GET", "/api/v1/sql", 400, "q"),
        ("GET", "/api/v1/pose/history", 400, "start_time"),
        ("GET", "/api/v1/pose/current?min_confidence=high", 400, "min_confidence"),
        ("GET", "/api/v1/streams/nowhere/tap", 404, "zones.events"),
        (
            "GET",
            "/api/v1/pose/current?zone_ids=kitchen",
            400,
            "parameter `zone_ids`, expected one of `zone_id`",
        ),
        ("GET", "/ws/v1/stream", 400, "WebSocket handshake"),
        ("POST", "/api/v1/sql", 400, "JSON"),
    ] {
        let mut response = request(&server, (method, path), any, "");
        let name = format!("{method} {path}");
        assert_eq!(response.status(), expected, "{name}");
        assert_eq!(header(&response, "content-type"), "application/problem+json", "{name}");
        if expected == 405 {
            assert!(!header(&response, "allow").is_empty(), "{name}: the methods it has");
        }
        let problem: Value = response.body_mut().read_json().expect("a problem is JSON");
        assert_eq!(problem["status"], expected, "{name}");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.to_lowercase().contains(&words.to_lowercase()), "{name}: {detail}");
    }
}

/// Sends bytes, and returns the status of the first response; the server closes the connection.
fn status_of(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    // It may have refused the beginning, and closed the connection.
    let _ = stream.write_all(bytes);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response);
    response.split(' ').nth(1)?.parse().ok()
}

/// A proxy could read such requests differently, and so let through what it should not.
pub(crate) fn ambiguous_requests_are_refused() {
    let (_directory, server) = start();
    let host = &server.address;
    let health = "GET /api/v1/system/health HTTP/1.1\r\n";
    let post = format!("POST /api/v1/sql HTTP/1.1\r\nHost: {host}\r\n");
    let closing = format!("{health}Host: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(status_of(&server, closing.as_bytes()), Some(200));
    for request in [
        format!("{health}Host: {host}\n\n"),
        format!("{health}Host: {host}\r\nX: 1\n\r\n"),
        format!("{health}Host: {host}\r\n folded\r\n\r\n"),
        format!("{health}Host: {host}\r\nConnection: close\r\nHost: {host}\r\n\r\n"),
        format!("{health}Connection: close\r\n\r\n"),
        format!("{post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ] {
        assert_eq!(status_of(&server, request.as_bytes()), Some(400), "{request:?}");
    }
    // The request that is hidden in the body of the first is not answered.
    let hidden = format!("{post}Content-Length: {}\r\n\r\n{closing}{closing}", closing.len());
    assert_eq!(status_of(&server, hidden.as_bytes()), Some(400), "the body is no JSON");
}

/// Parts of a request that are too long have a status of their own.
pub(crate) fn long_requests_are_refused() {
    let (_directory, server) = start();
    let host = &server.address;
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    };
    let long_uri = get(&format!("/?{}", "a".repeat(8 * 1024)), "");
    let long_field = get("/", &format!("X: {}\r\n", "a".repeat(16 * 1024)));
    let many_fields = (0..90).map(|n| format!("X-{n}: {}\r\n", "a".repeat(200)));
    let many_fields = many_fields.collect::<Vec<_>>().concat();
    let long_body = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        1 + (1 << 20)
    );
    let chunks = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("10000\r\n{}\r\n", "a".repeat(1 << 16)).repeat(17)
    );
    for (request, expected) in [
        (get(&format!("/?{}", "a".repeat(8 * 1024 - 2)), ""), 200),
        (long_uri, 414),
        (long_field, 431),
        (get("/", &many_fields), 431),
        (long_body, 413),
        (chunks, 413),
    ] {
        assert_eq!(status_of(&server, request.as_bytes()), Some(expected), "{request:.80}");
    }
}

/// A web page of somebody else can neither read nor change anything, by its own name or by another one.
pub(crate) fn pages_of_others_are_refused() {
    let (directory, server) = start();
    let ask = |server: &Server, path: &str, name: &str, value: &str| {
        request(server, ("GET", path), (name, value), "")
    };
    let own = format!("http://{}", server.address);
    for path in ["/", "/api/v1/pose/current", "/ws/v1/stream", "/metrics"] {
        let status = |name, value| ask(&server, path, name, value).status().as_u16();
        assert_eq!(status("origin", "http://evil.example"), 403, "{path}");
        assert_eq!(status("origin", "null"), 403, "{path}");
        assert_eq!(status("host", "evil.example"), 421, "{path}");
        assert!(![403, 421].contains(&status("origin", &own)), "{path}");
    }
    server.terminate();
    let demo = directory.path().join("demo");
    let pipeline = fs::read_to_string(demo.join("pipelines/demo.toml"));
    let open = "[api]\nhosts = [\"pi.home\"]\norigins = [\"https://home.example\"]";
    let pipeline = pipeline.expect("the demo writes it").replace("[api]", open);
    fs::write(demo.join("open.toml"), pipeline).expect("room");
    let arguments = ["run", "open.toml", "--listen", "127.0.0.1:0"];
    let server = Server::start(&demo, &arguments);
    let path = "/api/v1/system/health";
    assert_eq!(ask(&server, path, "host", "pi.home").status(), 200);
    let response = ask(&server, path, "origin", "https://home.example");
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "access-control-allow-origin"), "https://home.example");
    let preflight = request(&server, ("OPTIONS", path), ("origin", "https://home.example"), "");
    assert_eq!(header(&preflight, "access-control-allow-origin"), "https://home.example");
    assert_eq!(ask(&server, path, "origin", "https://evil.example").status(), 403);
}

pub(crate) fn may_check_metrics() -> bool {
    Command::new("promtool").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Prometheus' own tool finds nothing to criticise.
pub(crate) fn metrics_are_as_prometheus_expects() {
    let (_directory, server) = start();
    for path in ["/api/v1/pose/zones", "/nowhere", "/ws/v1/stream", "/docs/people.md"] {
        server.get(path);
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut input = check.stdin.take().expect("it is piped");
    input.write_all(server.get("/metrics").1.as_bytes()).expect("it reads");
    drop(input);
    let check = check.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success() && said.is_empty(), "{said}");
}

/// Thousands of requests that the document allows or forbids have responses that it describes, and none is a
/// failure of the server. What is valid SQL, the document cannot say.
pub(crate) fn the_document_is_true() {
    let (directory, server) = start();
    // The demo asks for no credentials, whatever the document says.
    check_document(directory.path(), &server, &["--exclude-checks=ignored_auth"]);
}

/// Sends requests that the document of a server allows and others, and checks the responses against it.
pub(crate) fn check_document(directory: &Path, server: &Server, more: &[&str]) {
    let document = format!("http://{}/api/v1/openapi.json", server.address);
    check_document_at(&document, directory, more);
}

/// The same, for a document in a file or at a URL.
pub(crate) fn check_document_at(document: &str, directory: &Path, more: &[&str]) {
    let arguments = [
        "run",
        document,
        "--max-examples=50",
        "--phases=examples,coverage,fuzzing",
        "--exclude-checks=positive_data_acceptance",
        // Their responses end with their client.
        "--exclude-path=/ws/v1/stream",
        "--exclude-path-regex=tap$",
    ];
    python::run_tool(directory, "schemathesis", &[&arguments[..], more].concat());
}

/// Whoever asks for many paths makes no metrics.
pub(crate) fn paths_make_no_metrics() {
    let (_directory, server) = start();
    let count = || {
        let metrics = server.get("/metrics").1;
        metrics.lines().filter(|line| line.starts_with("api_")).count()
    };
    server.get("/api/v1/pose/persons/0");
    server.get("/0");
    let (_, before) = (count(), count());
    for n in 1..300 {
        server.get(&format!("/api/v1/pose/persons/{n}"));
        server.get(&format!("/{n}"));
        request(&server, (&format!("M{n}"), "/"), ("accept", "*/*"), "");
    }
    // Other methods are one.
    assert!(count() <= before + 20, "{before} lines before, {} now", count());
    let metrics = server.get("/metrics").1;
    let persons = "endpoint=\"/api/v1/pose/persons/{person_id}\",status=\"404\"} ";
    assert!(metrics.contains(persons) && !metrics.contains("persons/7"), "{metrics}");
}

/// The dashboard shows metrics that there are.
pub(crate) fn the_dashboard_uses_metrics_that_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana/fresnel.json");
    let dashboard = fs::read_to_string(path).expect("it is there");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let (_directory, server) = start();
    let metrics = server.get("/metrics").1;
    let known: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    for target in targets {
        let expression = target["expr"].as_str().expect("text");
        let words =
            expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let is_metric = |word: &&str| {
            word.starts_with("fresnel_")
                || word.starts_with("api_")
                || word.starts_with("websocket_")
        };
        let used: Vec<_> = words.filter(is_metric).collect();
        assert_eq!(used.len(), 1, "{expression}");
        let used = used[0].trim_end_matches("_bucket");
        assert!(known.contains(&used), "{used} is not in /metrics");
    }
}

/// The media type with the highest quality is chosen; an unavailable one is refused.
pub(crate) fn the_accept_header_chooses_the_format() {
    let (_directory, server) = start();
    let query = r#"{"q": "SELECT 1 AS one"}"#;
    for (accept, status, media_type) in [
        ("*/*", 200, "application/json"),
        ("application/json;q=0.2, text/csv", 200, "text/csv; charset=utf-8"),
        ("application/vnd.apache.arrow.file", 200, "application/vnd.apache.arrow.file"),
        ("image/png", 406, "application/problem+json"),
    ] {
        let response = request(&server, ("POST", "/api/v1/sql"), ("accept", accept), query);
        assert_eq!(response.status(), status, "{accept}");
        assert_eq!(header(&response, "content-type"), media_type, "{accept}");
    }
}

/// Complete bodies are compressed for clients that accept it; the lines of a tap arrive at once.
pub(crate) fn bodies_are_compressed() {
    let (_directory, server) = start();
    let gzip = ("accept-encoding", "gzip");
    let mut response = request(&server, ("GET", "/api/v1/openapi.json"), gzip, "");
    assert_eq!(header(&response, "content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(response.body_mut().as_reader()).read_to_string(&mut text).expect("gzip");
    assert!(serde_json::from_str::<Value>(&text).expect("JSON")["paths"].is_object());
    let tap = request(&server, ("GET", "/api/v1/streams/room/tap"), gzip, "");
    assert_eq!(header(&tap, "content-encoding"), "");
}

/// The book is part of the program, and can be searched.
pub(crate) fn the_book_is_served() {
    let (_directory, server) = start();
    let get = |path: &str| server.get(path);
    let (status, page) = get("/docs");
    assert_eq!(status, 200, "redirected to the first page");
    assert!(page.contains("<h1 id=\"introduction\">Introduction</h1>"), "{page}");
    let (status, page) = get("/docs/reference/sinks.md");
    assert!(
        status == 200 && page.contains("<table>") && page.contains("commit_interval"),
        "{page}"
    );
    let (status, page) = get("/docs/search?q=exactly%20once");
    assert!(status == 200 && page.contains("href=\"/docs/"), "{page}");
    for path in [
        "/docs/",
        "/docs/people",
        "/docs/people.png",
        "/docs/camera.jpg",
        "/docs/camera-and-csi.png",
        "/docs/people.html",
        "/docs/pipeline.schema.json",
    ] {
        let response = request(&server, ("GET", path), ("accept", "*/*"), "");
        assert!(response.status().is_success() || response.status().is_redirection(), "{path}");
    }
    assert_eq!(get("/docs/nowhere.md").0, 404);
}
