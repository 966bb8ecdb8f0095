//! A building full of ESP32 boards over UDP: each frame is written once, with the values that its board sent.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use schemas::CsiBatch;

use crate::support::{port, process, soak};

const N_BOARDS: usize = 64;
/// Time between two frames of a board.
const PERIOD: Duration = Duration::from_millis(10);
const N_VALUES: usize = 128;

const PIPELINE: &str = r#"
name = "building"

[sources.boards]
type = "csi"
format = "esp32"
transport = { udp = "ADDRESS" }

[operators.movement]
type = "motion"
inputs = ["boards"]

[sinks.lines]
type = "json_lines"
inputs = ["boards"]
path = "frames.jsonl"

[sinks.movements]
type = "json_lines"
inputs = ["movement"]
path = "motion.jsonl"
"#;

/// Returns the value `nth` of a frame; the first three values identify the frame.
fn value(board: usize, frame: usize, nth: usize) -> i8 {
    let number = match nth {
        0 => board,
        1 => frame % 100,
        2 => frame / 100,
        _ => (board * 31 + frame * 7 + nth * 3) % 200,
    };
    i8::try_from(number.cast_signed() - 100).expect("it fits")
}

/// Returns a frame as a board with esp-csi sends it.
fn line(board: usize, frame: usize) -> String {
    let time_us = frame as u128 * PERIOD.as_micros();
    let mut line = format!(
        "CSI_DATA,{frame},94:d9:b3:80:8c:81,-{board},11,1,6,1,0,1,0,1,0,0,-93,0,13,0,{time_us},0,67,\
         0,{N_VALUES},1,\"["
    );
    for nth in 0..N_VALUES {
        write!(line, "{}{}", if nth == 0 { "" } else { "," }, value(board, frame, nth))
            .expect("a string takes it");
    }
    line + "]\"\n"
}

/// Returns a socket for each board, with an address of its own.
fn sockets() -> Vec<UdpSocket> {
    let socket = |nth: usize| UdpSocket::bind((format!("127.0.1.{}", nth + 1), 0));
    (0..N_BOARDS).map(|nth| socket(nth).expect("a free port")).collect()
}

/// Sends frames of all boards, each board at its own moment of the period.
#[expect(clippy::disallowed_methods, reason = "boards go by the clock")]
fn send(address: &str, frames: std::ops::Range<usize>) {
    let (sockets, start) = (sockets(), Instant::now());
    for (period, frame) in (0..).zip(frames) {
        for (board, socket) in sockets.iter().enumerate() {
            let due = PERIOD * period + PERIOD * board as u32 / N_BOARDS as u32;
            // Boards do not wait for the receiver: they send at fixed times.
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let line = line(board, frame);
            assert_eq!(socket.send_to(line.as_bytes(), address).expect("it is sent"), line.len());
        }
    }
}

/// Checks every frame that was written, and returns the number of frames of each board.
fn check(path: &Path) -> Vec<usize> {
    let mut n_frames = vec![0; N_BOARDS];
    for line in BufReader::new(fs::File::open(path).expect("it is there")).lines() {
        let batch: CsiBatch = serde_json::from_str(&line.expect("text")).expect("a batch");
        let host = batch.link.receiver.strip_prefix("127.0.1.").expect("one of the boards");
        let board = host.parse::<usize>().expect("a number") - 1;
        assert_eq!(batch.link.transmitter, "94:d9:b3:80:8c:81");
        assert_eq!(batch.layout.subcarriers.len() * 2, N_VALUES);
        for (nth, values) in batch.iq.chunks(N_VALUES / 2).enumerate() {
            let frame = n_frames[board];
            assert_eq!(batch.sequence[nth] as usize, frame, "board {board}");
            assert!((batch.rssi_dbm[nth] + board as f32).abs() < f32::EPSILON);
            // Imaginary parts come first.
            for (pair, found) in values.iter().enumerate() {
                let expected = [1, 0].map(|part| f32::from(value(board, frame, 2 * pair + part)));
                assert!([found.re, found.im] == expected, "board {board}, frame {frame}");
            }
            n_frames[board] += 1;
        }
    }
    n_frames
}

pub(crate) fn a_building_full_loses_nothing() {
    let n_periods = soak::period().as_millis() as usize / PERIOD.as_millis() as usize;
    let directory = tempfile::tempdir().expect("room");
    let address = format!("127.0.0.1:{}", port::free());
    let pipeline = PIPELINE.replace("ADDRESS", &address);
    fs::write(directory.path().join("building.toml"), pipeline).expect("room");
    let arguments = ["run", "building.toml", "--listen", "127.0.0.1:0"];
    let server = process::Server::start(directory.path(), &arguments);
    let n_first = n_periods / 4;
    send(&address, 0..n_first);
    let before = server.memory_bytes();
    send(&address, n_first..n_periods);
    let after = server.memory_bytes();
    let n_frames = N_BOARDS * n_periods;
    let lost = "fresnel_dropped_total{component=\"boards\",reason=\"lost before it was read\"}";
    let written = "fresnel_records_total{component=\"lines\"}";
    while server.metric(written) + server.metric(lost) < n_frames as u64 {}
    assert_eq!(server.metric(lost), 0, "the system had no room for them");
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    eprintln!("{n_frames} frames; {} MiB, then {} MiB", before >> 20, after >> 20);
    assert_eq!(check(&directory.path().join("frames.jsonl")), vec![n_periods; N_BOARDS]);
    assert!(after < before + (32 << 20), "memory has a bound");
}
