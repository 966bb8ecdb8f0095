//! Lines from a serial port: a terminal whose other end is a Python script.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::support::{capture, lines, process};

/// Prints the name of a terminal, then writes its own input to it.
const BOARD: &str = "
import os, tty
board, port = os.openpty()
tty.setraw(port)
print(os.ttyname(port), flush=True)
while read := os.read(0, 65536):
    os.write(board, read)
";

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
    let mut board = Command::new("python3");
    let board = board.args(["-c", BOARD]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut board = board.spawn().expect("python starts");
    let mut port = String::new();
    let told = board.stdout.take().expect("it is piped");
    BufReader::new(told).read_line(&mut port).expect("it prints text");
    let directory = tempfile::tempdir().expect("room");
    let pipeline = PIPELINE.replace("PORT", port.trim());
    fs::write(directory.path().join("bench.toml"), pipeline).expect("room");
    let arguments = ["run", "bench.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    let mut to_board = board.stdin.take().expect("it is piped");
    let log = capture::esp32();
    // The first line is a boot message; the second half of the last line is sent later.
    let sent: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').take(11).collect();
    let (whole, half) = (sent[..10].concat(), sent[10].split_at(40));
    to_board.write_all(&whole).and_then(|()| to_board.write_all(half.0)).expect("it reads");
    to_board.write_all(half.1).expect("it reads");
    server.wait_until(|| lines::frames(&directory.path().join("out.jsonl")).len() == 10);
    assert_eq!(server.terminate().0, Some(0));
    drop(to_board);
    board.wait().expect("it ends");
    fs::write(directory.path().join("bench.toml"), PIPELINE.replace("PORT", "/dev/nowhere"))
        .expect("room");
    let said = process::fail(directory.path(), &["run", "bench.toml", "--fresh"], 1);
    assert!(said.contains("could not open the serial port \"/dev/nowhere\""), "{said}");
}
