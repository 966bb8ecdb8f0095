//! Lines of ESP32 boards over UDP, through the example pipeline.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use sources::CsiFormat;

use crate::support::{capture, process};

pub(crate) fn datagrams_become_presence() {
    let directory = tempfile::tempdir().expect("room");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/esp32.toml");
    let example = fs::read_to_string(example).expect("the example");
    // A port that was free a moment ago.
    let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = address.expect("a free port").to_string();
    let pipeline = example.replace("0.0.0.0:5566", &address);
    fs::write(directory.path().join("esp32.toml"), pipeline).expect("room");
    let arguments = ["run", "esp32.toml", "--listen", "127.0.0.1:0"];
    let server = process::Server::start(directory.path(), &arguments);
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let lines = capture::recorded(CsiFormat::Esp32);
    let lines: Vec<_> = lines.split(|byte| *byte == b'\n').take(200).collect();
    // The first line is a boot message. A few at a time, so that the socket's buffer is not overrun.
    for (few, nth) in lines.chunks(10).zip(1..) {
        for line in few {
            sender.send_to(line, &address).expect("loopback takes it");
        }
        wait_for(&server, &format!("records_total{{component=\"hall\"}} {}\n", nth * 10 - 1));
    }
    sender.send_to(b"CSI_DATA,garbage", &address).expect("loopback takes it");
    let dropped = "dropped_total{component=\"hall\",reason=\"no list of values\"} 1\n";
    wait_for(&server, dropped);
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    let told = fs::read_to_string(directory.path().join("motion.jsonl")).expect("it was written");
    let first = told.lines().next().expect("a line");
    assert!(first.contains("\"motion\":\"unknown\""), "{first}");
    assert!(first.contains("\"source_kind\":\"live\""), "{first}");
    assert!(first.contains("hall/94:d9:b3:80:8c:8"), "{first}");
}

/// Asks until a counter is there.
fn wait_for(server: &process::Server, counter: &str) {
    const TRIES: usize = 10_000;
    let there = (0..TRIES).any(|_| server.get("/metrics").1.contains(counter));
    assert!(there, "no {counter} in\n{}", server.get("/metrics").1);
}
