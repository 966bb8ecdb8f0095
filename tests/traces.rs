//! Traces for a collector, which a socket imitates.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use crate::support::{capture, process};

/// The path of the request that ends the collector.
const END: &str = "/end";

/// Answers a request, and returns its path and body, or `None` if it is incomplete.
fn answer(stream: TcpStream) -> Option<(String, Value)> {
    let mut request = BufReader::new(stream);
    let (mut first, mut n_bytes) = (String::new(), 0);
    request.read_line(&mut first).ok()?;
    let mut line = String::from("header");
    while !line.trim().is_empty() {
        line.clear();
        request.read_line(&mut line).ok()?;
        if let Some(length) = line.to_lowercase().strip_prefix("content-length:") {
            n_bytes = length.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; n_bytes];
    request.read_exact(&mut body).ok()?;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                  connection: close\r\n\r\n{}";
    request.get_mut().write_all(answer.as_bytes()).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}

pub(crate) fn commits_and_checkpoints_are_traced() {
    let collector = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = collector.local_addr().expect("it is bound");
    let collector = thread::spawn(move || {
        let requests = collector.incoming().flatten().filter_map(answer);
        requests.take_while(|(path, _)| path != END).collect::<Vec<_>>()
    });
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    fs::write(path.join("capture.dat"), capture::intel5300()).expect("room");
    let pipeline = fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/intel5300.toml"),
    );
    fs::write(path.join("flat.toml"), pipeline.expect("the example")).expect("room");
    let endpoint = format!("http://{address}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let output = process::fresnel_with(path, &["run", "flat.toml"], &variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ureq::get(format!("http://{address}{END}")).call().expect("it answers");
    let mut names = BTreeSet::new();
    for (path, body) in collector.join().expect("it ends") {
        assert_eq!(path, "/v1/traces");
        let resource = &body["resourceSpans"][0];
        assert!(resource["resource"].to_string().contains("\"fresnel\""), "{body}");
        let spans = resource["scopeSpans"][0]["spans"].as_array().expect("spans").iter();
        names.extend(spans.filter_map(|span| span["name"].as_str().map(str::to_owned)));
    }
    for name in ["open", "commit", "checkpoint"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}
