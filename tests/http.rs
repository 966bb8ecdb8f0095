//! The edges of the API: errors, content negotiation and compression.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;
use ureq::Body;
use ureq::http::Response;

use crate::support::process::Server;

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
        ("GET", "/api/v1/sql", 405, "GET"),
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
        "/docs/people.html",
        "/docs/pipeline.schema.json",
    ] {
        let response = request(&server, ("GET", path), ("accept", "*/*"), "");
        assert!(response.status().is_success() || response.status().is_redirection(), "{path}");
    }
    assert_eq!(get("/docs/nowhere.md").0, 404);
}
