//! Lines of ESP32 boards over UDP: the journal keeps datagrams until a checkpoint contains them, and a
//! recording can be replayed.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{capture, lines, pcap, port, process};

/// A board that sends lines.
struct Board {
    socket: UdpSocket,
    address: String,
    lines: Vec<Vec<u8>>,
    n_sent: usize,
}

impl Board {
    /// Returns a board that sends to a port that was free a moment ago.
    fn new() -> Self {
        Self::at("127.0.0.1", &format!("127.0.0.1:{}", port::free()))
    }

    /// Returns a board with an address of its own.
    fn at(host: &str, address: &str) -> Self {
        let socket = UdpSocket::bind((host, 0)).expect("a free port");
        let address = address.to_owned();
        let lines = capture::esp32();
        // The first line is a boot message.
        let lines = lines.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::to_vec).collect();
        Self { socket, address, lines, n_sent: 0 }
    }

    /// Sends the next lines; a call sends few, so that the socket's buffer does not overflow.
    fn send(&mut self, n_lines: usize) {
        for line in &self.lines[self.n_sent..self.n_sent + n_lines] {
            self.send_bytes(line);
        }
        self.n_sent += n_lines;
    }

    fn send_bytes(&self, bytes: &[u8]) {
        // The receiver may have ended.
        let _ = self.socket.send_to(bytes, &self.address);
    }
}

pub(crate) fn datagrams_become_presence() {
    let directory = tempfile::tempdir().expect("room");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/esp32.toml");
    let example = fs::read_to_string(example).expect("the example");
    let mut board = Board::new();
    let pipeline = example.replace("0.0.0.0:5566", &board.address);
    fs::write(directory.path().join("esp32.toml"), pipeline).expect("room");
    let arguments = ["run", "esp32.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    for _ in 0..20 {
        board.send(10);
        let taken = format!("fresnel_records_total{{component=\"hall\"}} {}", board.n_sent);
        server.wait_for_metric(&taken);
    }
    // Boards also send other text, or nothing. Only an invalid line that begins like a frame is counted.
    for bytes in [&b""[..], b"noise", b"CSI_DATA,garbage", b"CSI_DATA,\xFF"] {
        board.send_bytes(bytes);
    }
    let dropped = "fresnel_dropped_total{component=\"hall\",reason=\"no list of values\"} 2";
    server.wait_for_metric(dropped);
    // A tick is written when it has ended.
    let told = directory.path().join("motion.jsonl");
    server.wait_until(|| !lines::records(&told).is_empty());
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    let first = &lines::records(&told)[0];
    assert_eq!((&first["motion"], &first["source_kind"]), (&"unknown".into(), &"live".into()));
    assert!(first["link"].as_str().expect("a name").starts_with("127.0.0.1/94:d9:b3:80:8c:8"));
}

/// A pipeline that writes the frames of all boards.
const PIPELINE: &str = r#"
name = "hall"
checkpoint = { interval = "20ms", granule = "50ms", retention = 1 }

[sources.boards]
type = "csi"
format = "esp32"
transport = TRANSPORT

[sinks.lines]
type = "json_lines"
inputs = ["boards"]
path = "out.jsonl"
"#;

fn write_pipeline(directory: &Path, transport: &str) {
    let text = PIPELINE.replace("TRANSPORT", transport);
    fs::write(directory.join("hall.toml"), text).expect("room");
}

/// Returns the sequence numbers and times of the frames that were written, in order.
fn frames(directory: &Path) -> Vec<(u64, i64)> {
    lines::frames(&directory.join("out.jsonl"))
}

/// A run is killed repeatedly while a board sends. Each datagram in the journal is written once. Datagrams
/// that are sent while no run is on are lost.
pub(crate) fn a_killed_run_loses_no_datagram_that_it_took() {
    const KILLS: u64 = 30;
    let directory = tempfile::tempdir().expect("room");
    let mut board = Board::new();
    write_pipeline(directory.path(), &format!("{{ udp = \"{}\" }}", board.address));
    let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0"];
    let mut n_taken = 0;
    for nth in 0..KILLS {
        let mut server = process::Server::start(directory.path(), &arguments);
        // The journal contains the frames that the test waits for. The number of further frames is left to
        // chance.
        let first = board.n_sent as u64;
        board.send(5);
        server.wait_until(|| {
            let frames = frames(directory.path());
            frames.iter().filter(|(number, _)| *number >= first).count() >= 5
        });
        n_taken += 5;
        board.send(20);
        std::thread::sleep(Duration::from_millis(nth * 7 % 40));
        drop(server);
    }
    // At these passes, the run already listens.
    for point in ["after poll/boards:100", "before trim/boards:20", "after trim/boards:20"] {
        let server = process::Server::start_failing(directory.path(), &arguments, point);
        board.send(25);
        assert_eq!(server.wait_for_signal(), Some(6), "{point}");
    }
    // The next run writes all datagrams of the journal.
    let mut server = process::Server::start(directory.path(), &arguments);
    board.send(5);
    let last = board.n_sent as u64 - 1;
    server.wait_until(|| frames(directory.path()).iter().any(|(number, _)| *number == last));
    assert_eq!(server.terminate().0, Some(0));
    let frames = frames(directory.path());
    let numbers: BTreeSet<_> = frames.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), frames.len(), "doubled");
    assert!(frames.len() >= n_taken, "lost");
    for first in (0..last).step_by(25) {
        // The journal contains the first datagrams of each run, without a gap.
        let of_run: Vec<_> = numbers.range(first..(first + 25).min(last + 1)).collect();
        let gap = of_run.windows(2).any(|pair| *pair[1] != pair[0] + 1);
        assert!(!gap && *of_run[0] == first, "of the run from {first}: {of_run:?}");
    }
    let journal = directory.path().join("fresnel.journal/hall");
    assert_eq!(fs::read_dir(journal).expect("it is there").count(), 1, "of one history");
}

pub(crate) fn a_recording_is_replayed() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let mut board = Board::new();
    write_pipeline(path, &format!("{{ udp = \"{}\" }}", board.address));
    let mut recorder =
        process::Server::start_silent(path, &["record", "hall.toml", "boards", "rec"]);
    let segment = path.join("rec/00000000000000000000.journal");
    let n_bytes = || fs::metadata(&segment).map_or(0, |metadata| metadata.len());
    // The recorder listens once the journal contains the first of these.
    recorder.wait_until(|| {
        board.send_bytes(b"CSI_DATA,garbage");
        n_bytes() > 0
    });
    for _ in 0..10 {
        let before = n_bytes();
        board.send(10);
        recorder.wait_until(|| n_bytes() > before);
    }
    assert_eq!(recorder.terminate().0, Some(0));
    write_pipeline(path, "{ journal = \"rec\" }");
    process::succeed(path, &["run", "hall.toml"]);
    let replayed = frames(path);
    let numbers: BTreeSet<_> = replayed.iter().map(|(number, _)| *number).collect();
    assert_eq!((numbers.len(), replayed.len()), (100, 100));
    process::succeed(path, &["run", "hall.toml", "--fresh"]);
    assert_eq!(frames(path), replayed, "at the same times");
    let said = process::fail(path, &["record", "hall.toml", "boards", "rec2"], 1);
    assert!(said.contains("cannot be recorded"), "{said}");
}

/// Boards connect and disconnect. Each event is reported once, at whatever moment a run is killed, and each
/// frame has its board as the receiver.
pub(crate) fn boards_are_discovered() {
    let directory = tempfile::tempdir().expect("room");
    let address = format!("127.0.0.1:{}", port::free());
    let mut boards = ["127.0.0.2", "127.0.0.3"].map(|host| Board::at(host, &address));
    write_pipeline(
        directory.path(),
        &format!("{{ udp = \"{address}\" }}\nidle_timeout = \"400ms\""),
    );
    keep_stream(directory.path(), "events");
    keep_stream(directory.path(), "errors");
    let events = || -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let events = lines::records(&directory.path().join("events.jsonl")).into_iter();
        events.map(|event| (text(&event["type"]), text(&event["subject"]))).collect()
    };
    let is_partition = |board: &str| {
        let arguments = ["checkpoint", "inspect", "hall", "--component", "boards"];
        process::succeed(directory.path(), &arguments).contains(&format!("\"{board}\""))
    };
    let of_first = || events().into_iter().filter(|(_, board)| board == "127.0.0.2");
    let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    // The beginning of a network capture from one board does not affect the datagrams of other boards.
    let other = Board::at("127.0.0.4", &address);
    other.send_bytes(&pcap::of(std::iter::empty()));
    other.send_bytes(b"CSI_DATA,nonsense,[1 2]\n");
    let mut n_sent = 0;
    // Sends one line of each board, and waits until they are written.
    let mut send = |server: &mut process::Server, boards: &mut [Board]| {
        for board in &mut *boards {
            board.send(1);
        }
        n_sent += boards.len();
        server.wait_until(|| frames(directory.path()).len() >= n_sent);
    };
    while events().len() < 2 {
        send(&mut server, &mut boards);
    }
    // Only the second board continues to send.
    while of_first().count() < 2 {
        send(&mut server, &mut boards[1..]);
    }
    server.signal("KILL");
    server.wait_for_signal();
    let mut server = process::Server::start(directory.path(), &arguments);
    while of_first().count() < 3 {
        send(&mut server, &mut boards);
    }
    assert_eq!(server.terminate().0, Some(0));
    assert!(is_partition("127.0.0.2") && is_partition("127.0.0.3"));
    assert!(!is_partition("127.0.0.4"), "it has been silent since");
    let types: Vec<_> = of_first().map(|(event_type, _)| event_type).collect();
    assert_eq!(types, ["router.connected", "router.disconnected", "router.connected"]);
    assert_eq!(frames(directory.path()).len(), n_sent, "each once");
    let batches = lines::records(&directory.path().join("out.jsonl")).into_iter();
    let receivers: BTreeSet<_> =
        batches.map(|batch| batch["link"]["receiver"].to_string()).collect();
    assert_eq!(receivers.into_iter().collect::<Vec<_>>(), ["\"127.0.0.2\"", "\"127.0.0.3\""]);
    let errors = lines::records(&directory.path().join("errors.jsonl"));
    let errors: Vec<_> =
        errors.iter().map(|error| (&error["partition"], &error["reason"])).collect();
    assert_eq!(errors, [(&"127.0.0.4".into(), &"unknown column layout".into())]);
}

/// A board whose frames make the run crash is quarantined, the others are not. A later run reads the board's
/// frames without a loss.
pub(crate) fn a_board_that_makes_it_crash_is_left_alone() {
    for known in [true, false] {
        is_quarantined(known);
    }
}

/// Quarantines a board, which is `known` if an earlier run has read it.
fn is_quarantined(known: bool) {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let address = format!("127.0.0.1:{}", port::free());
    let [mut good, mut bad] = ["127.0.0.2", "127.0.0.3"].map(|host| Board::at(host, &address));
    write_pipeline(path, &format!("{{ udp = \"{address}\" }}"));
    let of = |receiver: &str| -> Vec<u64> {
        let mut batches = lines::records(&path.join("out.jsonl"));
        batches.retain(|batch| batch["link"]["receiver"] == receiver);
        let frames = batches.iter().filter_map(|batch| batch["captured_at_ns"].as_array().cloned());
        frames.flatten().filter_map(|time| time.as_u64()).collect()
    };
    let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0", "--supervise"];
    let mut server = process::Server::start(path, &arguments);
    good.send(1);
    bad.send(usize::from(known));
    server.wait_until(|| frames(path).len() == 1 + usize::from(known));
    assert_eq!(server.terminate().0, Some(0));
    let at = "panic at a frame/127.0.0.3:1";
    let mut server = process::Server::start_failing(path, &arguments, at);
    bad.send(1);
    // A checkpoint may contain the board before its first frame makes the run crash.
    let partition = if known { "boards/127.0.0.3" } else { "boards/" };
    server.wait_for_words(&["quarantined on trial", partition]);
    server.wait_for_words(&["listening on"]);
    bad.send(1);
    // No socket may listen until the supervisor has started the next run.
    server.wait_until(|| {
        good.send(1);
        of("127.0.0.2").len() >= 4
    });
    let (code, said) = server.terminate();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("quarantined, and still to be read: {partition}")), "{said}");
    assert_eq!(of("127.0.0.3").len(), usize::from(known), "it was quarantined");
    let mut server = process::Server::start(path, &arguments);
    bad.send(1);
    let n_sent = bad.n_sent;
    server.wait_until(|| of("127.0.0.3").len() >= n_sent);
    assert_eq!(server.terminate().0, Some(0));
    let times: BTreeSet<_> = of("127.0.0.3").into_iter().collect();
    assert_eq!((times.len(), of("127.0.0.3").len()), (n_sent, n_sent), "each once");
    let times: BTreeSet<_> = of("127.0.0.2").into_iter().collect();
    assert_eq!(times.len(), of("127.0.0.2").len(), "each once");
}

/// A quarantined socket with all its boards: the journal keeps its datagrams, and a later run writes them.
pub(crate) fn a_socket_that_is_left_alone_is_read_later() {
    let directory = tempfile::tempdir().expect("room");
    let address = format!("127.0.0.1:{}", port::free());
    let mut boards = ["127.0.0.2", "127.0.0.3"].map(|host| Board::at(host, &address));
    write_pipeline(directory.path(), &format!("{{ udp = \"{address}\" }}"));
    let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0"];
    let held = [&arguments[..], &["--quarantine", "boards"]].concat();
    let frames = || frames(directory.path()).len();
    for (arguments, n_expected) in [(&arguments[..], 6), (&held, 6), (&arguments, 18)] {
        let mut server = process::Server::start(directory.path(), arguments);
        let before = journal_bytes(directory.path());
        for board in &mut boards {
            board.send(3);
        }
        let n_bytes: usize =
            boards.iter().map(|it| it.lines[it.n_sent - 3..it.n_sent].concat().len()).sum();
        server.wait_until(|| journal_bytes(directory.path()) >= before + n_bytes as u64);
        server.wait_until(|| frames() >= n_expected);
        assert_eq!(server.terminate().0, Some(0));
        assert_eq!(frames(), n_expected);
    }
}

/// Returns the number of bytes in the journals of a folder's pipelines.
fn journal_bytes(directory: &Path) -> u64 {
    let (mut folders, mut n_bytes) = (vec![directory.join("fresnel.journal")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                metadata => n_bytes += metadata.map_or(0, |metadata| metadata.len()),
            }
        }
    }
    n_bytes
}

/// Adds a sink that writes a stream of the boards to a file of the stream's name.
fn keep_stream(directory: &Path, stream: &str) {
    let pipeline = directory.join("hall.toml");
    let text = fs::read_to_string(&pipeline).expect("the pipeline");
    let sink = format!(
        "[sinks.{stream}]\ntype = \"json_lines\"\ninputs = [\"boards.{stream}\"]\npath = \"{stream}.jsonl\"\n"
    );
    fs::write(&pipeline, [text, sink].join("\n")).expect("room");
}

/// A suspended run loses datagrams, and counts them when it resumes.
pub(crate) fn what_there_was_no_room_for_is_counted() {
    // More datagrams than a socket's buffer has room for.
    const SENT: u64 = 60_000;
    let directory = tempfile::tempdir().expect("room");
    let board = Board::new();
    write_pipeline(directory.path(), &format!("{{ udp = \"{}\" }}", board.address));
    keep_stream(directory.path(), "errors");
    let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    server.signal("STOP");
    for _ in 0..SENT {
        board.send_bytes(&board.lines[0]);
    }
    server.signal("CONT");
    // The next datagram that finds room reports the lost ones before it.
    let (mut n_sent, mut found) = (SENT, [0, 0]);
    while found[1] == 0 || found.iter().sum::<u64>() < n_sent {
        board.send_bytes(&board.lines[0]);
        n_sent += 1;
        // Enough time for one datagram to arrive.
        for _ in 0..100 {
            found = [
                server.metric("fresnel_records_total{component=\"boards\"}"),
                server.metric(
                    "fresnel_dropped_total{component=\"boards\",reason=\"lost before it was read\"}",
                ),
            ];
            if found.iter().sum::<u64>() == n_sent {
                break;
            }
        }
    }
    assert_eq!(found.iter().sum::<u64>(), n_sent, "{found:?}");
    let errors = || lines::records(&directory.path().join("errors.jsonl"));
    let n_errors = || errors().iter().filter_map(|error| error["n_records"].as_u64()).sum::<u64>();
    // Errors are sent when their tick ends.
    server.wait_until(|| n_errors() >= found[1]);
    assert_eq!(server.terminate().0, Some(0));
    assert!(errors().iter().all(|error| error["partition"] == ""), "nobody knows who sent them");
    assert_eq!(n_errors(), found[1]);
}

/// Rows that carry their own time over two sockets.
const ROWS: &str = r#"
name = "rows"

[sources.loud]
type = "json"
fields = { at_ms = "int" }
time = { field = "at_ms" }
transport = { udp = "LOUD" }

[sources.mute]
type = "json"
fields = { at_ms = "int" }
time = { field = "at_ms" }
transport = { udp = "MUTE" }
idle_timeout = "100ms"

[sinks.lines]
type = "json_lines"
inputs = ["loud", "mute"]
path = "out.jsonl"
"#;

/// A socket without input does not delay the watermark once it is idle.
pub(crate) fn a_silent_socket_holds_nothing_back() {
    let directory = tempfile::tempdir().expect("room");
    let [loud, mute] = port::distinct().map(|port| format!("127.0.0.1:{port}"));
    let pipeline = ROWS.replace("LOUD", &loud).replace("MUTE", &mute);
    fs::write(directory.path().join("rows.toml"), pipeline).expect("room");
    let arguments = ["run", "rows.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let out = directory.path().join("out.jsonl");
    // These times are in 2026, before any time of the other source's clock.
    for at_ms in [1_767_225_600_000_i64, 1_767_225_601_000] {
        socket.send_to(format!("{{\"at_ms\":{at_ms}}}").as_bytes(), &loud).expect("it listens");
    }
    server.wait_until(|| !lines::records(&out).is_empty());
    assert_eq!(lines::records(&out)[0]["at_ms"], 1_767_225_600_000_i64);
    assert_eq!(server.terminate().0, Some(0));
}

/// A journal is damaged or lost between two runs. Later datagrams are accepted nevertheless, each once.
pub(crate) fn a_damaged_journal_loses_nothing_new() {
    for damage in ["none", "turned bit", "lost"] {
        let directory = tempfile::tempdir().expect("room");
        let path = directory.path();
        let mut board = Board::new();
        write_pipeline(path, &format!("{{ udp = \"{}\" }}", board.address));
        let arguments = ["run", "hall.toml", "--listen", "127.0.0.1:0"];
        let mut server = process::Server::start(path, &arguments);
        for n_frames in (10..=100).step_by(10) {
            board.send(10);
            server.wait_until(|| frames(path).len() == n_frames);
        }
        assert_eq!(server.terminate().0, Some(0));
        let journals = path.join("fresnel.journal");
        match damage {
            "turned bit" => turn_bit(&journals),
            "lost" => fs::remove_dir_all(&journals).expect("it is there"),
            _ => {}
        }
        let mut server = process::Server::start(path, &arguments);
        for n_frames in (110..=200).step_by(10) {
            board.send(10);
            server.wait_until(|| frames(path).len() == n_frames);
        }
        let (code, said) = server.terminate();
        assert_eq!(code, Some(0), "{damage}: {said}");
        let numbers: BTreeSet<_> = frames(path).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers.len(), 200, "{damage}: each once");
    }
}

/// Flips a bit in the middle of the only segment below a folder.
fn turn_bit(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            turn_bit(&path);
        } else if path.extension().is_some_and(|it| it == "journal") {
            let mut bytes = fs::read(&path).expect("it is there");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).expect("room");
        }
    }
}

/// Two recordings cannot write to one folder: the second is refused, and the first continues.
pub(crate) fn a_journal_has_one_writer() {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let mut board = Board::new();
    write_pipeline(path, &format!("{{ udp = \"{}\" }}", board.address));
    let mut server =
        process::Server::start_silent(path, &["record", "hall.toml", "boards", "kept"]);
    let lock = path.join("kept/lock");
    server.wait_until(|| fs::metadata(&lock).is_ok_and(|lock| lock.len() > 0));
    let other = Board::new();
    write_pipeline(path, &format!("{{ udp = \"{}\" }}", other.address));
    let said = process::fail(path, &["record", "hall.toml", "boards", "kept"], 1);
    assert!(said.contains("writes to it"), "{said}");
    // Datagrams are lost until the recording listens.
    server.wait_until(|| {
        board.send(5);
        journal_of(&path.join("kept")) > 0
    });
    assert_eq!(server.terminate().0, Some(0));
}

fn journal_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|it| it == "journal"));
    segments.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
