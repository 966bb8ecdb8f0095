//! Contract tests of sources: a replay from a position returns the same records at the same ticks.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ::sources::{Partition, PartitionPosition, PollState, SourceConfig, SourceContext};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::Tick;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::kafka::Kafka;
use crate::support::mosquitto::Mosquitto;
use crate::support::serial::Board;
use crate::support::{capture, ffmpeg, port, wait};

/// Number of rows of [`rows`], each in a tick of its own.
const N_ROWS: usize = 400;

/// A source under test.
struct Origin {
    folder: TempDir,
    config: SourceConfig,
    /// Records after which an unbounded source has given all of its closed ticks; None if the source ends.
    n_records: Option<usize>,
}

/// The records that a source sent, each with its tick, and its positions.
#[derive(Default)]
struct Given {
    records: Vec<(Tick, String)>,
    positions: Vec<PartitionPosition>,
}

/// The positions of all partitions at a tick.
#[derive(Debug, Default)]
struct Checkpoint {
    tick: Tick,
    positions: Vec<PartitionPosition>,
}

impl Given {
    /// The checkpoints at which no partition has ended.
    fn checkpoints(&self) -> Vec<Checkpoint> {
        let mut ticks: Vec<_> = self.positions.iter().map(|it| it.tick).collect();
        ticks.dedup();
        let at = |tick: Tick| {
            let positions = self.positions.iter().filter(|it| it.tick == tick).cloned().collect();
            Checkpoint { tick, positions }
        };
        let checkpoints = ticks.into_iter().map(at);
        checkpoints.filter(|it| it.positions.iter().all(|it| it.position.is_some())).collect()
    }
}

impl Origin {
    fn new(settings: &Value, n_records: Option<usize>) -> Self {
        let config = serde_json::from_value(settings.clone()).expect("these are settings");
        Self { folder: tempfile::tempdir().expect("room"), config, n_records }
    }

    /// Opens the source at the positions of a tick.
    fn open(&self, from: &Checkpoint) -> Vec<Partition> {
        let positions = from
            .positions
            .iter()
            .filter_map(|it| Some((it.partition.clone().into_bytes(), it.position.clone()?)));
        let positions: Vec<_> = positions.collect();
        let journal = self.folder.path().join("journal");
        let context = SourceContext {
            directory: self.folder.path(),
            journal: &journal,
            positions: &positions,
            starts_at: from.tick,
            ..SourceContext::detached("rows")
        };
        self.config.open(&context).expect("it is there")
    }

    /// Reads everything from a checkpoint on; `send` sends some messages before each poll.
    fn read(&self, from: &Checkpoint, mut send: impl FnMut()) -> Given {
        let mut partitions = self.open(from);
        let mut given = Given::default();
        let n_wanted = self.n_records.unwrap_or(usize::MAX);
        let n_before = self.n_before(from.tick);
        wait::until("all records are given", || {
            let mut has_ended = true;
            send();
            for partition in &mut partitions {
                if let Some(receiver) = &mut partition.receiver {
                    receiver.receive().expect("the transport works");
                }
                has_ended &= poll(partition, &mut given) == PollState::End;
            }
            match self.n_records {
                None => has_ended,
                Some(_) => given.records.len() + n_before >= n_wanted,
            }
        });
        if self.n_records.is_none() {
            for partition in &mut partitions {
                let n_records = given.records.len();
                assert_eq!(poll(partition, &mut given), PollState::End, "an end is an end");
                assert_eq!(given.records.len(), n_records, "nothing follows");
            }
        }
        given
    }

    /// Rows before a tick: one in each tick.
    fn n_before(&self, tick: Tick) -> usize {
        self.n_records
            .map_or(0, |n_records| n_records.min(usize::try_from(tick / 10).expect("few")))
    }
}

/// Polls once. Ticks never go back, and no record is beyond the clock.
fn poll(partition: &mut Partition, given: &mut Given) -> PollState {
    let polled = partition.source.poll().expect("it can be read");
    for (tick, record) in polled.records {
        let last = given.records.last().map_or(0, |(last, _)| *last);
        assert!(last <= tick && tick <= polled.clock, "{last} {tick} {}", polled.clock);
        let mut lines = Vec::new();
        record.write_json_lines(&mut lines).expect("records have a form");
        let lines = String::from_utf8(lines).expect("JSON is text");
        given.records.extend(lines.lines().map(|line| (tick, line.to_owned())));
    }
    given.positions.extend(polled.positions);
    polled.state
}

/// Reads the source, then again from some of its checkpoints, and from one of them after the source may have removed
/// everything before it.
fn keeps_the_contract(origin: &Origin, send: impl FnMut()) {
    let all = origin.read(&Checkpoint::default(), send);
    assert!(all.records.len() > 10, "there is something to read");
    let checkpoints = all.checkpoints();
    assert!(checkpoints.len() > 1, "there are positions");
    let after =
        |tick: Tick| all.records.iter().filter(move |(at, _)| *at >= tick).collect::<Vec<_>>();
    for checkpoint in checkpoints.iter().step_by(checkpoints.len().div_ceil(5)) {
        let again = origin.read(checkpoint, || {});
        assert_eq!(
            again.records.iter().collect::<Vec<_>>(),
            after(checkpoint.tick),
            "{checkpoint:?}"
        );
    }
    let kept = &checkpoints[checkpoints.len() / 2];
    for partition in &mut origin.open(kept) {
        partition.source.checkpointed_through(kept.tick).expect("it can be removed");
    }
    let again = origin.read(kept, || {});
    assert_eq!(again.records.iter().collect::<Vec<_>>(), after(kept.tick), "{kept:?}");
}

/// Rows with a time each, ten milliseconds apart.
fn rows() -> Vec<String> {
    (0..N_ROWS).map(|nth| json!({ "at": nth * 10, "n": nth }).to_string()).collect()
}

fn json_source(transport: &Value) -> Value {
    json!({ "json": {
        "transport": transport,
        "fields": { "at": "int", "n": "int" },
        "time": { "field": "at" },
    } })
}

fn write_rows(folder: &Path) {
    fs::write(folder.join("rows.jsonl"), rows().join("\n") + "\n").expect("room");
}

pub(crate) fn a_simulation_keeps_the_contract() {
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/scenes/flat.toml");
    let settings = json!({ "simulate": { "scene": scene, "starts_at_s": 5, "duration": "5s" } });
    keeps_the_contract(&Origin::new(&settings, None), || {});
}

pub(crate) fn files_keep_the_contract() {
    let origin = Origin::new(&json_source(&json!({ "file": "rows.jsonl" })), None);
    write_rows(origin.folder.path());
    keeps_the_contract(&origin, || {});
    let settings =
        json!({ "csi": { "format": "intel5300", "transport": { "file": "capture.dat" } } });
    let origin = Origin::new(&settings, None);
    fs::write(origin.folder.path().join("capture.dat"), capture::intel5300()).expect("room");
    keeps_the_contract(&origin, || {});
}

const CLIP: &str = "testsrc2=size=160x120:rate=25:duration=6";

fn clip_source(name: &str, arguments: &[&str]) -> Origin {
    let origin = Origin::new(&json!({ "video": { "url": name } }), None);
    ffmpeg::make_clip(origin.folder.path(), name, CLIP, arguments);
    origin
}

/// Frames that are stored in another order than they are shown, at rates that change, and in containers without an
/// index.
pub(crate) fn videos_keep_the_contract() {
    let with_b_frames = ["-pix_fmt", "yuv420p", "-bf", "3", "-g", "50"];
    let at_changing_rates = ["-vf", "select='not(mod(n,3))+lt(n,50)'", "-vsync", "passthrough"];
    for (name, arguments) in [
        ("clip.mp4", &with_b_frames[..]),
        ("clip.ts", &with_b_frames),
        ("clip.mkv", &at_changing_rates),
    ] {
        keeps_the_contract(&clip_source(name, arguments), || {});
    }
    let every = json!({ "video": { "url": "clip.mp4", "every": "300ms" } });
    let origin = Origin::new(&every, None);
    ffmpeg::make_clip(origin.folder.path(), "clip.mp4", CLIP, &with_b_frames);
    keeps_the_contract(&origin, || {});
    assert_eq!(origin.read(&Checkpoint::default(), || {}).records.len(), 19, "each 320 ms");
}

pub(crate) fn folders_of_pictures_keep_the_contract() {
    let settings = json!({ "video": { "url": "pictures", "picture_interval": "500ms" } });
    let origin = Origin::new(&settings, None);
    let folder = origin.folder.path().join("pictures");
    fs::create_dir(&folder).expect("room");
    let some = ["-frames:v", "20", "-start_number", "1"];
    ffmpeg::make_clip(&folder, "%d.png", CLIP, &some);
    fs::write(folder.join("7.jpg"), "no picture").expect("room");
    fs::write(folder.join("notes.txt"), "no picture either").expect("room");
    keeps_the_contract(&origin, || {});
    let given = origin.read(&Checkpoint::default(), || {});
    let names = given.records.iter().map(|(_, line)| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        record["name"].as_str().map(str::to_owned)
    });
    let names: Vec<_> = names.flatten().collect();
    assert_eq!(names, (1..=20).map(|nth: i32| nth.to_string()).collect::<Vec<_>>());
}

/// A source reads the first pictures of a truncated file, and reports the file as damaged.
pub(crate) fn videos_that_are_cut_off_give_what_is_there() {
    let whole = clip_source("whole.mkv", &["-pix_fmt", "yuv420p", "-g", "10"]);
    let expected = whole.read(&Checkpoint::default(), || {}).records;
    let bytes = fs::read(whole.folder.path().join("whole.mkv")).expect("a file");
    let origin = Origin::new(&json!({ "video": { "url": "cut.mkv" } }), None);
    let read_first = |length: usize| {
        fs::write(origin.folder.path().join("cut.mkv"), &bytes[..length]).expect("room");
        let given = origin.read(&Checkpoint::default(), || {}).records;
        given.into_iter().partition::<Vec<_>, _>(|(_, line)| line.contains("\"video\""))
    };
    for length in (0..40).map(|nth| bytes.len() * nth / 40) {
        let (pictures, errors) = read_first(length);
        assert!(pictures.len() < expected.len(), "{length} bytes");
        // Pictures that refer to later ones are missing at the end.
        let n_same = pictures.iter().zip(&expected).take_while(|(one, all)| one == all).count();
        assert!(pictures.len() <= n_same + 3, "{n_same} of {}, {length} bytes", pictures.len());
        assert_eq!(errors.len(), 1, "{length} bytes");
    }
    // The file ends with an index: all pictures can be read without it, but the file is damaged.
    let (pictures, errors) = read_first(bytes.len() - 1);
    assert!(pictures == expected);
    assert_eq!(errors.len(), 1);
}

/// A file that is not a video, declares a huge picture, or refers to other files or hosts gives one error and no
/// picture.
pub(crate) fn hostile_videos_are_survived() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let playlist = |target: &str| {
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    };
    let size = u32::from(u16::MAX);
    let flood = format!("YUV4MPEG2 W{size} H{size} F25:1 Ip C420jpeg\nFRAME\n");
    for (name, content) in [
        ("text.mp4", b"no video".to_vec()),
        ("empty.mkv", Vec::new()),
        ("noise.avi", (0..99_999_u32).map(|nth| (nth.wrapping_mul(nth) / 7) as u8).collect()),
        ("files.mp4", playlist("file:///etc/passwd").into_bytes()),
        ("files.m3u8", playlist("/etc/passwd").into_bytes()),
        ("private.m3u8", playlist(&format!("http://{address}/0.ts")).into_bytes()),
        ("private.mp4", playlist(&format!("tcp://{address}")).into_bytes()),
        ("list.mkv", b"ffconcat version 1.0\nfile '/etc/passwd'\n".to_vec()),
        ("huge.y4m", flood.into_bytes()),
        ("huge.png", png_header(size)),
        ("huge.mp4", png_header(size)),
    ] {
        let origin = Origin::new(&json!({ "video": { "url": name } }), None);
        fs::write(origin.folder.path().join(name), content).expect("room");
        let given = origin.read(&Checkpoint::default(), || {}).records;
        assert_eq!(given.len(), 1, "{name}: {given:?}");
        assert!(given[0].1.contains("damaged video"), "{name}: {given:?}");
    }
    let reached = listener.accept().map_err(|error| error.kind());
    assert_eq!(reached.err(), Some(io::ErrorKind::WouldBlock), "a playlist was followed");
    let origin = Origin::new(&json!({ "video": { "url": "pictures" } }), None);
    fs::create_dir(origin.folder.path().join("pictures")).expect("room");
    fs::write(origin.folder.path().join("pictures/huge.png"), png_header(size)).expect("room");
    let given = origin.read(&Checkpoint::default(), || {}).records;
    assert!(given.len() == 1 && given[0].1.contains("unreadable picture"), "{given:?}");
}

/// Returns the beginning of a square PNG, with one piece of its pixels.
fn png_header(size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size, size);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("room");
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c]).expect("room");
    // Without the end that the writer would add.
    std::mem::forget(writer);
    bytes
}

/// A file that ends at any place gives only pictures of the whole one.
pub(crate) fn videos_that_end_anywhere_are_survived() {
    let with_index_first = ["-pix_fmt", "yuv420p", "-movflags", "+faststart"];
    let whole = clip_source("whole.mp4", &with_index_first);
    let expected = whole.read(&Checkpoint::default(), || {}).records;
    let bytes = fs::read(whole.folder.path().join("whole.mp4")).expect("a file");
    let origin = Origin::new(&json!({ "video": { "url": "cut.mp4" } }), None);
    for length in (0..bytes.len()).step_by(1000) {
        fs::write(origin.folder.path().join("cut.mp4"), &bytes[..length]).expect("room");
        let given = origin.read(&Checkpoint::default(), || {}).records;
        let (pictures, errors): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|(_, line)| line.contains("\"video\""));
        assert!(errors.len() == 1 && pictures.len() < expected.len(), "{length} bytes: {errors:?}");
        let times: BTreeSet<_> = expected.iter().map(|(tick, _)| tick).collect();
        assert!(pictures.iter().all(|(tick, _)| times.contains(tick)), "{length} bytes");
    }
}

/// A live stream that is lost is opened again. It says when, and pictures have the times of their arrival; so pictures
/// of two cameras that were taken at the same time have about the same time.
pub(crate) fn live_streams_are_opened_again() {
    let [first, second] = port::distinct::<2>();
    let urls = [
        format!("rtmp://127.0.0.1:{first}/live/hall"),
        format!("http://127.0.0.1:{second}/hall.mjpg"),
    ];
    let origins = urls.each_ref().map(|url| {
        let live = url.starts_with("http");
        Origin::new(&json!({ "video": { "url": url, "max_width": 80, "live": live } }), None)
    });
    let started_ns = now_ns();
    let mut sources =
        origins.each_ref().map(|origin| (origin.open(&Checkpoint::default()), Given::default()));
    let counts = |given: &Given, kind: &str| {
        given.records.iter().filter(|(_, line)| line.contains(kind)).count()
    };
    let mut wait_for = |what: &str, kind: &str, n_wanted: usize| {
        wait::until(what, || {
            for (partitions, given) in &mut sources {
                for partition in partitions {
                    assert_eq!(poll(partition, given), PollState::Ready);
                }
            }
            sources.iter().all(|(_, given)| counts(given, kind) >= n_wanted)
        });
    };
    for connection in 1..=2 {
        let cameras = urls.each_ref().map(|url| ffmpeg::Camera::start(url));
        wait_for("the camera is found", "router.connected", connection);
        wait_for("pictures arrive", "\"video\"", 20);
        drop(cameras);
    }
    // Without pictures, the clock follows at a distance.
    wait_for("the second loss is reported", "router.disconnected", 2);
    for (_, given) in &sources {
        for kind in ["router.connected", "router.disconnected"] {
            assert_eq!(counts(given, kind), 2, "{kind}: {:?}", given.records);
        }
        for (tick, line) in given.records.iter().filter(|(_, line)| line.contains("captured_at_ns"))
        {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let at_ns = record["captured_at_ns"].as_i64().expect("a time");
            assert!((started_ns..=now_ns()).contains(&at_ns), "{tick}: {line}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "live pictures have the time of their arrival")]
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

pub(crate) fn journals_keep_the_contract() {
    let growing = Origin::new(&json_source(&json!({ "follow": "rows.jsonl" })), Some(N_ROWS - 1));
    write_rows(growing.folder.path());
    keeps_the_contract(&growing, || {});
}

pub(crate) fn datagrams_keep_the_contract() {
    let address = format!("127.0.0.1:{}", port::free());
    datagrams_to(&address, &json!({ "udp": address }));
}

pub(crate) fn interfaces_keep_the_contract() {
    let port = port::free();
    let transport = json!({ "interface": { "name": "lo", "port": port } });
    datagrams_to(&format!("127.0.0.1:{port}"), &transport);
}

fn datagrams_to(address: &str, transport: &Value) {
    let origin = Origin::new(&json_source(transport), Some(N_ROWS - 1));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let rows = rows();
    // The buffer of a socket may be small.
    let mut unsent = rows.chunks(20);
    keeps_the_contract(&origin, || {
        for row in unsent.next().into_iter().flatten() {
            // Nobody may be bound to the port.
            let _ = socket.send_to(row.as_bytes(), address);
        }
    });
}

pub(crate) fn connections_keep_the_contract() {
    let address = format!("127.0.0.1:{}", port::free());
    let origin = Origin::new(&json_source(&json!({ "tcp": address })), Some(N_ROWS - 1));
    let mut device = None;
    let lines = rows().join("\n") + "\n";
    // The pieces do not match the lines.
    let mut unsent = lines.as_bytes().chunks(1009);
    keeps_the_contract(&origin, || {
        let device =
            device.get_or_insert_with(|| TcpStream::connect(&address).expect("it listens"));
        if let Some(bytes) = unsent.next() {
            device.write_all(bytes).expect("it reads");
        }
    });
}

pub(crate) fn serial_ports_keep_the_contract() {
    let mut board = Board::start();
    let transport = json!({ "serial": { "path": board.port, "baud": 115_200 } });
    let origin = Origin::new(&json_source(&transport), Some(N_ROWS - 1));
    let lines = rows().join("\n") + "\n";
    let mut unsent = lines.as_bytes().chunks(1009);
    keeps_the_contract(&origin, || {
        if let Some(bytes) = unsent.next() {
            board.send(bytes);
        }
    });
}

pub(crate) fn mqtt_keeps_the_contract() {
    let mosquitto = Mosquitto::start();
    let transport =
        json!({ "mqtt": { "host": "127.0.0.1", "port": mosquitto.port, "topic": "rows" } });
    let origin = Origin::new(&json_source(&transport), Some(N_ROWS - 1));
    let mut unsent = Some(rows());
    keeps_the_contract(&origin, || {
        // The broker keeps messages for a session that exists.
        let has_session = |_: &mut _| mosquitto.n_packets("Received SUBSCRIBE") > 0;
        if let Some(rows) = unsent.take_if(has_session) {
            mosquitto.publish(rows.into_iter().map(|row| ("rows".to_owned(), row)));
        }
    });
}

pub(crate) fn topics_keep_the_contract() {
    let kafka = Kafka::start();
    kafka.create("rows", 1);
    let producer: BaseProducer = kafka.client().create().expect("a producer");
    for row in rows() {
        let record = BaseRecord::<(), _>::to("rows").payload(&row);
        producer.send(record).expect("the queue has room");
    }
    producer.flush(Duration::from_secs(30)).expect("the broker is there");
    let transport = json!({ "kafka": { "brokers": kafka.brokers(), "topic": "rows" } });
    keeps_the_contract(&Origin::new(&json_source(&transport), Some(N_ROWS - 1)), || {});
}

/// A source without data sends nothing, and does not end.
pub(crate) fn idle_sources_do_not_end() {
    let address = format!("127.0.0.1:{}", port::free());
    for transport in [json!({ "udp": address }), json!({ "follow": "rows.jsonl" })] {
        let origin = Origin::new(&json_source(&transport), Some(1));
        fs::write(origin.folder.path().join("rows.jsonl"), "").expect("room");
        let mut partitions = origin.open(&Checkpoint::default());
        assert_eq!(partitions.len(), 1);
        for partition in &mut partitions {
            let mut given = Given::default();
            for _ in 0..3 {
                partition.receiver.as_mut().expect("it is pushed").receive().expect("it works");
                assert_eq!(poll(partition, &mut given), PollState::Ready);
            }
            assert!(given.records.is_empty());
        }
    }
}
