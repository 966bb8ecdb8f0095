//! Lines from a serial port.

use std::fs;

use crate::support::serial::Board;
use crate::support::{capture, lines, process};

const PIPELINE: &str = r#"
name = "bench"

[sources.board]
type = "csi"
format = "esp32"
transport = { serial = { path = "PORT", baud = 115200 } }

[sinks.lines]
type = "json_lines"
inputs = ["board"]
path = "out.jsonl"
"#;

pub(crate) fn lines_become_frames() {
    let mut board = Board::start();
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("PORT", &board.port);
    fs::write(directory.path().join("bench.toml"), pipeline).expect("room");
    let arguments = ["run", "bench.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    let log = capture::esp32();
    // The first line is a boot message; the second half of the last line is sent later.
    let sent: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').take(11).collect();
    let (whole, half) = (sent[..10].concat(), sent[10].split_at(40));
    for bytes in [&whole, half.0, half.1] {
        board.send(bytes);
    }
    server.wait_until(|| lines::frames(&directory.path().join("out.jsonl")).len() == 10);
    assert_eq!(server.terminate().0, Some(0));
    fs::write(directory.path().join("bench.toml"), PIPELINE.replace("PORT", "/dev/nowhere"))
        .expect("room");
    let said = process::fail(directory.path(), &["run", "bench.toml", "--fresh"], 1);
    assert!(said.contains("could not open the serial port \"/dev/nowhere\""), "{said}");
}
