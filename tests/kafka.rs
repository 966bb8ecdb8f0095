//! Records from and to Apache Kafka: each is committed exactly once, whichever process is killed at any
//! moment.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::golden;
use crate::support::kafka::{Kafka, Message};
use crate::support::registry::Registry;
use crate::support::{capture, cluster, lines as json_lines, port, process, python, soak, wait};

/// A capture at several times its speed, and a topic with the lines of two boards.
const PIPELINE: &str = r#"
name = "flat"
checkpoint = { interval = "20ms", granule = "200ms" }

[sources.laptop]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }
speed = SPEED

[sources.boards]
type = "csi"
format = "esp32"
transport = { kafka = { brokers = "BROKERS", topic = "boards", stop_at_end = true } }

[operators.motion]
type = "motion"
inputs = ["laptop", "boards"]
report_every = "50ms"

[sinks.topics]
type = "kafka"
inputs = ["motion"]
brokers = "BROKERS"
prefix = "PREFIX"
commit_interval = "30ms"

[sinks.lines]
type = "json_lines"
inputs = ["motion"]
path = "out.jsonl"

[sinks.history]
type = "delta"
inputs = ["motion"]
path = "history"
commit_interval = "50ms"
"#;

/// Returns a folder with the pipeline and its capture.
fn directory(kafka: &Kafka, prefix: &str, speed: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("room");
    let capture = capture::intel5300();
    fs::write(directory.path().join("capture.dat"), capture).expect("room");
    write_pipeline(directory.path(), kafka, prefix, speed);
    directory
}

fn write_pipeline(directory: &Path, kafka: &Kafka, prefix: &str, speed: &str) {
    let text = PIPELINE.replace("BROKERS", &kafka.brokers()).replace("PREFIX", prefix);
    fs::write(directory.join("flat.toml"), text.replace("SPEED", speed)).expect("room");
}

/// Creates a topic of three partitions: a board in each of two, and one without a message.
fn send_boards(kafka: &Kafka) {
    kafka.create("boards", 3);
    let producer: BaseProducer = kafka.client().create().expect("a client");
    let lines = capture::esp32();
    for (line, nth) in lines.split(|byte| *byte == b'\n').skip(1).zip(0_i32..) {
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to("boards").payload(line);
        // A message whose timestamp is zero gets the time of sending.
        let record = record.partition(nth % 2).timestamp(i64::from(nth + 1) * 10);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(30)).expect("it takes them");
}

/// A pipeline with one topic, of which one partition is mostly idle.
const SILENT: &str = r#"
name = "silent"
checkpoint = { interval = "20ms", granule = "50ms" }

[sources.boards]
type = "csi"
format = "esp32"
transport = { kafka = { brokers = "BROKERS", topic = "boards" } }
idle_timeout = "100ms"

[sinks.lines]
type = "json_lines"
inputs = ["boards"]
path = "out.jsonl"
"#;

fn lines(directory: &Path) -> Vec<String> {
    let lines = fs::read_to_string(directory.join("out.jsonl")).expect("it was written");
    lines.lines().map(str::to_owned).collect()
}

/// Returns the rows of the history, ordered by time and link.
fn rows(directory: &Path) -> String {
    let sql = "SELECT * FROM presence ORDER BY captured_at_ns, link";
    process::succeed(directory, &["sql", "--format", "json_lines", sql])
}

/// Returns the messages that an uninterrupted run commits under a prefix, its lines and its rows.
fn uninterrupted(kafka: &Kafka, prefix: &str) -> (Vec<Message>, Vec<String>, String) {
    let directory = directory(kafka, prefix, "\"full\"");
    process::succeed(directory.path(), &["run", "flat.toml"]);
    let messages = kafka.read(&format!("{prefix}.presence.v1"));
    (messages, lines(directory.path()), rows(directory.path()))
}

pub(crate) fn records_become_messages() {
    let kafka = Kafka::start();
    send_boards(&kafka);
    let (messages, lines, _) = uninterrupted(&kafka, "home");
    let mut values: Vec<_> = messages.iter().map(|message| message.value.clone()).collect();
    let mut expected = lines;
    values.sort_unstable();
    expected.sort_unstable();
    assert_eq!(values, expected);
    for receiver in ["laptop/", "boards/94:d9:b3:80:8c:80", "boards/94:d9:b3:80:8c:81"] {
        let of_link = messages.iter().filter(|message| message.key.starts_with(receiver));
        let partitions: BTreeSet<_> = of_link.map(|it| it.partition).collect();
        assert_eq!(partitions.len(), 1, "{receiver} stays in order");
    }
    let headers: Vec<_> = messages[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        headers,
        ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"]
    );
    assert_eq!(messages[0].headers[3].1, "/fresnel/flat/topics");
    assert_eq!(messages[0].headers[4].1, "dev.fresnel.presence.v1");
    let ids: BTreeSet<_> = messages.iter().map(|message| &message.headers[2].1).collect();
    assert_eq!(ids.len(), messages.len(), "ids are unique");
}

/// Decodes values as consumers do, each with the schema of the registry that it names, and compares them with
/// lines of JSON. The comparison is between sets, without absent fields, and with numbers in single
/// precision.
const COMPARE: &str = "
import importlib, io, json, os, struct, sys, urllib.request, fastavro
from grpc_tools import protoc
url, values, lines, kind = sys.argv[1:]
schemas = {}

def schema(number):
    answer = json.load(urllib.request.urlopen(f'{url}/schemas/ids/{number}'))
    if answer.get('schemaType', 'AVRO') == 'AVRO':
        avro = fastavro.parse_schema(json.loads(answer['schema']))
        return lambda body: fastavro.schemaless_reader(io.BytesIO(body), avro)
    folder = os.path.dirname(values)
    open(f'{folder}/{kind}.proto', 'w').write(answer['schema'])
    assert protoc.main(['', f'-I{folder}', f'--python_out={folder}', f'{kind}.proto']) == 0
    sys.path.append(folder)
    module = importlib.import_module(f'{kind}_pb2')
    message = getattr(module, next(iter(module.DESCRIPTOR.message_types_by_name)))
    def read(body):
        assert body[0] == 0
        return fields(message.FromString(body[1:]))
    return read

def fields(message):
    def value(field):
        if field.has_presence and not message.HasField(field.name):
            return None
        value = getattr(message, field.name)
        if field.message_type is None:
            return list(value) if field.is_repeated else value
        return [fields(v) for v in value] if field.is_repeated else fields(value)
    return {field.name: value(field) for field in message.DESCRIPTOR.fields}

def read(value):
    assert value[0] == 0
    number = int.from_bytes(value[1:5], 'big')
    if number not in schemas:
        schemas[number] = schema(number)
    return schemas[number](value[5:])

def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None and k != 'record'}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return struct.unpack('f', struct.pack('f', value))[0] if isinstance(value, float) else value

def as_set(records):
    return sorted(json.dumps(plain(record), sort_keys=True) for record in records)

found = as_set(read(bytes.fromhex(line)) for line in open(values))
records = [json.loads(line) for line in open(lines)]
expected = as_set(r for r in records if r['record'] == kind and r.get('source') != 'room.truth')
assert found == expected, (found[:1], expected[:1])
print(len(found))
";

/// With Avro or Protobuf, consumers of a registry read the same records as the JSON Lines sink writes.
pub(crate) fn values_can_have_schemas() {
    let (kafka, registry) = (Kafka::start(), Registry::start());
    let directory = golden::directory();
    let path = directory.path();
    let pipeline = fs::read_to_string(path.join("pipelines/demo.toml"));
    let pipeline = golden::rewrite(pipeline.expect("the example").parse().expect("it is TOML"));
    let sink = |format: &str| {
        format!(
            "\n[sinks.{format}]\ntype = \"kafka\"\nbrokers = \"{}\"\nprefix = \"{format}\"\n\
             inputs = [\"zones\", \"activity.people\", \"zones.events\", \"activity.events\"]\n\
             values = {{ {format} = {{ registry = \"{}\" }} }}\n",
            kafka.brokers(),
            registry.url
        )
    };
    let with_sinks = format!("{pipeline}{}{}", sink("avro"), sink("protobuf"));
    fs::write(path.join("demo.toml"), &with_sinks).expect("room");
    process::succeed(path, &["run", "demo.toml"]);
    let lines = path.join("golden.jsonl");
    for format in ["avro", "protobuf"] {
        for (topic, kind) in
            [("zones.occupancy", "occupancy"), ("pose.frames", "pose"), ("events", "event")]
        {
            let mut values = String::new();
            for value in kafka.read_values(&format!("{format}.{topic}.v1")) {
                for byte in value {
                    write!(values, "{byte:02x}").expect("a string takes it");
                }
                values.push('\n');
            }
            let file = path.join(kind);
            fs::write(&file, values).expect("room");
            let (file, lines) = (file.to_string_lossy(), lines.to_string_lossy());
            let n_found = python::run(COMPARE, &[&registry.url, &file, &lines, kind]);
            assert_ne!(n_found, "0", "{kind}");
        }
    }
    // A source reads the written values.
    let source = format!(
        "[sources.again]\ntype = \"poses\"\nformat = {{ avro = {{ registry = \"{}\" }} }}\n\
         transport = {{ kafka = {{ brokers = \"{}\", topic = \"avro.pose.frames.v1\", stop_at_end = true }} }}\n",
        registry.url,
        kafka.brokers()
    );
    let again = "name = \"again\"\nsinks.lines = { type = \"json_lines\", inputs = [\"again\"], path = \"again.jsonl\" }\n";
    fs::write(path.join("again.toml"), format!("{again}{source}")).expect("room");
    process::succeed(path, &["run", "again.toml"]);
    let as_set = |file: &str| -> BTreeSet<_> {
        let records = json_lines::records(&path.join(file)).into_iter();
        let poses = records.filter(|it| it["record"] == "pose" && it["source"] != "room.truth");
        poses.map(|record| record.to_string()).collect()
    };
    assert_eq!(as_set("again.jsonl"), as_set("golden.jsonl"));
    // A run waits for an unreachable registry, as for a broker. A registry that refuses a schema is an error.
    let wrong = with_sinks.replace("/apis/ccompat/v7", "/apis/nowhere");
    fs::write(path.join("demo.toml"), wrong).expect("room");
    let said = process::fail(path, &["run", "demo.toml", "--fresh"], 1);
    assert!(said.contains("the schema registry refuses"), "{said}");
}

pub(crate) fn a_killed_run_commits_each_record_once() {
    const KILLS: u64 = 30;
    let kafka = Kafka::start();
    send_boards(&kafka);
    let (expected, expected_lines, expected_rows) = uninterrupted(&kafka, "whole");
    let directory = directory(&kafka, "killed", "3.0");
    let mut n_interrupted = 0;
    for nth in 0..KILLS {
        let pause = Duration::from_millis(100 + nth * 7919 % 900);
        let n_workers = (1 + nth % 3).to_string();
        let arguments = ["run", "flat.toml", "--workers", &n_workers];
        n_interrupted += u32::from(process::kill_after(directory.path(), &arguments, pause));
    }
    assert!(n_interrupted >= 20, "only {n_interrupted} runs were killed before their end");
    write_pipeline(directory.path(), &kafka, "killed", "\"full\"");
    cluster::succeed::<2>(directory.path(), &["run", "flat.toml"]);
    let found = kafka.read("killed.presence.v1");
    assert_eq!(found.len(), expected.len(), "lost or doubled");
    assert!(found == expected, "the same number of messages, but not the same");
    assert!(lines(directory.path()) == expected_lines);
    assert!(rows(directory.path()) == expected_rows);
}

/// While the broker is unreachable, sources pause. After its return, the run commits all records.
pub(crate) fn an_outage_is_waited_for() {
    let mut kafka = Kafka::start();
    send_boards(&kafka);
    let (expected, ..) = uninterrupted(&kafka, "whole");
    let directory = directory(&kafka, "outage", "4.0");
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    server.wait_until(|| kafka.has_messages("outage.presence.v1"));
    kafka.kill();
    // The sink accepts no more records, so that even the capture's queue fills up.
    server.wait_for_metric("fresnel_queue_depth{component=\"laptop\"} 32");
    if let Some(outage) = soak::outage() {
        let before = server.memory_bytes();
        // The test checks that the run survives a long outage.
        std::thread::sleep(outage);
        let after = server.memory_bytes();
        eprintln!("{} MiB, then {} MiB after {outage:?}", before >> 20, after >> 20);
        assert!(after < before + (32 << 20), "memory has a bound");
    }
    kafka.restart();
    let (code, said) = server.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("brokers are down"), "it was noticed: {said}");
    assert!(kafka.read("outage.presence.v1") == expected);
}

/// A run is suspended while another one takes over. When it resumes, it ends and commits nothing more.
pub(crate) fn a_run_that_was_taken_over_commits_nothing() {
    let kafka = Kafka::start();
    send_boards(&kafka);
    let (expected, ..) = uninterrupted(&kafka, "whole");
    let directory = directory(&kafka, "twice", "4.0");
    let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
    let mut first = process::Server::start(directory.path(), &arguments);
    first.wait_until(|| kafka.has_messages("twice.presence.v1"));
    write_pipeline(directory.path(), &kafka, "twice", "\"full\"");
    first.signal("STOP");
    // A run that is suspended during a commit holds the store's lock, which prevents a takeover.
    while !process::took_over(directory.path(), "flat.toml") {
        first.signal("CONT");
        first.signal("STOP");
    }
    first.signal("CONT");
    let (code, said) = first.wait();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("taken over") || said.contains("another run"), "{said}");
    assert!(kafka.read("twice.presence.v1") == expected);
}

/// Poses, two of which are too large: one for the topic, one for the client.
const LARGE: &str = r#"
name = "large"

[sources.camera]
type = "poses"
transport = { file = "poses.jsonl" }

[sinks.topics]
type = "kafka"
inputs = ["camera"]
brokers = "BROKERS"
prefix = "PREFIX"
properties = { "message.max.bytes" = "20000" }
"#;

/// A record that is too large for the brokers becomes a dead letter. The other records are committed once
/// each.
pub(crate) fn a_record_that_is_too_large_is_a_dead_letter() {
    let kafka = Kafka::start();
    let n_persons = |nth| match nth {
        20 => 30,
        30 => 200,
        _ => 1,
    };
    let poses = (0..50).map(|nth| capture::pose("flat", nth, nth, n_persons(nth)));
    let poses: String = poses.collect();
    for (prefix, dies) in [("whole", false), ("again", true)] {
        let topic = format!("{prefix}.pose.frames.v1");
        kafka.create_small(&topic, 3000);
        let directory = tempfile::tempdir().expect("room");
        let path = directory.path();
        let pipeline = LARGE.replace("BROKERS", &kafka.brokers()).replace("PREFIX", prefix);
        fs::write(path.join("large.toml"), pipeline).expect("room");
        fs::write(path.join("poses.jsonl"), &poses).expect("room");
        if dies {
            let at = "after commit/topics:1";
            let died = process::fresnel_failing(path, &["run", "large.toml"], at);
            assert_eq!(died.status.signal(), Some(6));
        }
        let output = process::fresnel(path, &["run", "large.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let reason = "larger than the brokers take";
        assert!(dies || said.contains(&format!("2 dropped ({reason}: 2)")), "{said}");
        let messages = kafka.read(&topic);
        let ids: BTreeSet<_> = messages.iter().map(|message| &message.headers[2].1).collect();
        assert_eq!((messages.len(), ids.len()), (48, 48), "lost or doubled");
        let letters = kafka.read(&format!("{prefix}.rejected"));
        assert_eq!(letters.len(), 2);
        for letter in letters {
            assert!(
                letter.value.starts_with("{\"record\":\"pose\",\"site\":\"flat\""),
                "{letter:?}"
            );
            let header = |name: &str| {
                let found = letter.headers.iter().find(|(it, _)| it == name);
                found.map(|(_, value)| value.as_str())
            };
            let why = [header("rejected_topic"), header("rejected_reason")];
            assert_eq!(why, [Some(topic.as_str()), Some(reason)]);
        }
    }
}

/// Sends lines of boards to a partition, with times so old that they are late once the watermark follows the
/// wall clock.
fn send_late<'a>(kafka: &Kafka, partition: i32, lines: impl Iterator<Item = &'a [u8]>) {
    // A new client reads the current list of partitions.
    let producer: BaseProducer = kafka.client().create().expect("a client");
    for line in lines {
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to("boards").payload(line);
        // The second day of 1970.
        let record = record.partition(partition).timestamp(100_000_000);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(30)).expect("it takes them");
}

/// An idle partition does not delay the watermark. Its late messages are written once, at whatever moment a
/// run is killed.
pub(crate) fn a_silent_partition_loses_nothing() {
    let kafka = Kafka::start();
    kafka.create("boards", 2);
    let directory = tempfile::tempdir().expect("room");
    let pipeline = SILENT.replace("BROKERS", &kafka.brokers());
    fs::write(directory.path().join("silent.toml"), pipeline).expect("room");
    let log = capture::esp32();
    // The first line is a header.
    let mut lines = log.split(|byte| *byte == b'\n').skip(1);
    let mut send = |partition: i32, n_lines: usize| {
        send_late(&kafka, partition, lines.by_ref().take(n_lines));
    };
    let arguments = ["run", "silent.toml", "--listen", "127.0.0.1:0"];
    let mut n_sent = 0;
    for nth in 0..8 {
        // The first run reads one partition only, each later run late messages of the other.
        let n_lines = if nth == 0 { 50 } else { 3 };
        send(i32::from(nth > 0), n_lines);
        n_sent += n_lines;
        let mut server = process::Server::start(directory.path(), &arguments);
        server.wait_until(|| frames(directory.path()).len() >= n_sent);
        drop(server);
        let point = ["before decision/boards:1", "after decision/boards:1"][nth % 2];
        let died = process::fresnel_failing(directory.path(), &["run", "silent.toml"], point);
        assert_eq!(died.status.signal(), Some(6), "{point}");
    }
    // The next run reads the records again that the last one had not committed.
    let mut server = process::Server::start(directory.path(), &arguments);
    server.wait_until(|| frames(directory.path()).len() >= n_sent);
    drop(server);
    let mut found = frames(directory.path());
    found.sort_unstable();
    assert_eq!(found, (0..n_sent as u64).collect::<Vec<_>>());
}

/// Partitions that are added during a run are read completely. Each frame is written once, at whatever moment
/// a run is killed.
pub(crate) fn a_partition_that_comes_later_is_read() {
    let kafka = Kafka::start();
    kafka.create("boards", 1);
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let asks_often =
        r#"topic = "boards", properties = { "topic.metadata.refresh.interval.ms" = "50" }"#;
    let pipeline = SILENT.replace("BROKERS", &kafka.brokers());
    let pipeline = pipeline.replace(r#"topic = "boards""#, asks_often);
    fs::write(path.join("silent.toml"), pipeline).expect("room");
    let log = capture::esp32();
    let mut lines = log.split(|byte| *byte == b'\n').skip(1);
    let mut send = |partition: i32, n_lines: usize| {
        send_late(&kafka, partition, lines.by_ref().take(n_lines));
    };
    let arguments = ["run", "silent.toml", "--listen", "127.0.0.1:0"];
    send(0, 20);
    let mut n_sent = 20;
    for nth in 1..=6 {
        let point = format!("{} decision/boards:{nth}", ["before", "after"][nth % 2]);
        // The run dies before or after it stores the new partition.
        let dies = process::Server::start_failing_silent(path, &arguments, &point);
        kafka.grow("boards", nth + 1);
        let partition = i32::try_from(nth).expect("few partitions");
        send(partition, 5);
        n_sent += 5;
        assert_eq!(dies.wait_for_signal(), Some(6), "{point}");
        let mut server = process::Server::start(path, &arguments);
        server.wait_until(|| frames(path).len() >= n_sent);
        send(partition - 1, 5);
        n_sent += 5;
        server.wait_until(|| frames(path).len() >= n_sent);
    }
    // One run reads several new partitions, each of which receives further messages.
    let mut server = process::Server::start(path, &arguments);
    for nth in 7..=9 {
        kafka.grow("boards", nth + 1);
        for partition in [nth, 0, nth - 1] {
            send(i32::try_from(partition).expect("few partitions"), 5);
            n_sent += 5;
            server.wait_until(|| frames(path).len() >= n_sent);
        }
    }
    assert_eq!(server.terminate().0, Some(0));
    // The run dies between the decisions about two partitions that it found at once.
    let dies = process::Server::start_failing_silent(path, &arguments, "before decision/boards:11");
    kafka.grow("boards", 12);
    for partition in [10, 11, 0, 10, 11] {
        send(partition, 5);
        n_sent += 5;
    }
    assert_eq!(dies.wait_for_signal(), Some(6));
    let mut server = process::Server::start(path, &arguments);
    server.wait_until(|| frames(path).len() >= n_sent);
    assert_eq!(server.terminate().0, Some(0));
    let mut found = frames(path);
    found.sort_unstable();
    assert_eq!(found, (0..n_sent as u64).collect::<Vec<_>>());
}

/// A new partition is read while the one before it is empty.
pub(crate) fn an_empty_partition_does_not_delay_a_later_one() {
    let kafka = Kafka::start();
    kafka.create("boards", 1);
    let directory = tempfile::tempdir().expect("room");
    let pipeline = SILENT.replace("BROKERS", &kafka.brokers()).replace(
        r#"topic = "boards""#,
        r#"topic = "boards", properties = { "topic.metadata.refresh.interval.ms" = "50" }"#,
    );
    fs::write(directory.path().join("silent.toml"), pipeline).expect("room");
    let arguments = ["run", "silent.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    kafka.grow("boards", 2);
    let log = capture::esp32();
    send_late(&kafka, 1, log.split(|byte| *byte == b'\n').skip(1).take(20));
    server.wait_until(|| frames(directory.path()).len() >= 20);
    assert_eq!(server.terminate().0, Some(0));
}

/// A message whose producer's clock is too far ahead is an error. It stays an error in a later run, when its
/// time is not ahead any more.
pub(crate) fn a_message_from_the_future_stays_refused() {
    let kafka = Kafka::start();
    kafka.create("boards", 1);
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let pipeline = SILENT.replace("BROKERS", &kafka.brokers());
    let write = |idle_timeout: &str| {
        let settings = format!("idle_timeout = \"{idle_timeout}\"\nmax_ahead = \"1s\"");
        let pipeline = pipeline.replace("idle_timeout = \"100ms\"", &settings);
        fs::write(path.join("silent.toml"), pipeline).expect("room");
    };
    let future_ms = now_ms() + 6000;
    let producer: BaseProducer = kafka.client().create().expect("a client");
    let log = capture::esp32();
    for (nth, line) in log.split(|byte| *byte == b'\n').skip(1).take(11).enumerate() {
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to("boards").payload(line);
        let sent_at_ms = if nth == 5 { future_ms } else { now_ms() };
        let sent = producer.send(record.partition(0).timestamp(sent_at_ms));
        sent.map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(30)).expect("it takes them");
    // The timeout is so long that the first decision is about the message, not about an idle partition.
    write("1m");
    let point = "after decision/boards:1";
    let died = process::fresnel_failing(path, &["run", "silent.toml"], point);
    assert_eq!(died.status.signal(), Some(6), "{point}");
    write("100ms");
    wait::until("it is not ahead any more", || now_ms() > future_ms);
    let mut server =
        process::Server::start(path, &["run", "silent.toml", "--listen", "127.0.0.1:0"]);
    server.wait_until(|| frames(path).len() >= 10);
    assert_eq!(server.terminate().0, Some(0));
    let found: BTreeSet<_> = frames(path).into_iter().collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10].into());
}

#[expect(clippy::disallowed_methods, reason = "producers read the clock")]
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970");
    i64::try_from(now.as_millis()).expect("it is long before the end of time")
}

/// A topic without a valid message.
const NONSENSE: &str = r#"
name = "nonsense"

[sources.topic]
type = "json"
transport = { kafka = { brokers = "BROKERS", topic = "nonsense" } }
fields = { at_ms = "int" }
time = { field = "at_ms" }
idle_timeout = "500ms"

[sinks.errors]
type = "json_lines"
inputs = ["topic.errors"]
path = "errors.jsonl"
"#;

/// A second source of the pipeline, and its sink.
const SOCKET: &str = r#"
[sources.socket]
type = "csi"
format = "esp32"
transport = { udp = "127.0.0.1:PORT" }

[sinks.lines]
type = "json_lines"
inputs = ["socket"]
path = "out.jsonl"
"#;

/// If a source produces only errors, they are written nevertheless.
pub(crate) fn errors_of_a_source_alone_are_written() {
    let kafka = Kafka::start();
    kafka.create("nonsense", 1);
    let directory = tempfile::tempdir().expect("room");
    let pipeline = NONSENSE.replace("BROKERS", &kafka.brokers());
    fs::write(directory.path().join("nonsense.toml"), pipeline).expect("room");
    let producer: BaseProducer = kafka.client().create().expect("a client");
    for _ in 0..20 {
        let message: BaseRecord<'_, str, [u8]> = BaseRecord::to("nonsense").payload(b"nonsense");
        producer.send(message).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(Duration::from_secs(30)).expect("it takes them");
    let arguments = ["run", "nonsense.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(directory.path(), &arguments);
    let errors = directory.path().join("errors.jsonl");
    server.wait_until(|| json_lines::records(&errors).len() >= 20);
    assert_eq!(server.terminate().0, Some(0));
}

/// A partition with an endless stream of invalid messages does not delay other sources. The loss of its
/// broker is reported.
pub(crate) fn a_partition_of_nonsense_holds_nothing_back() {
    let mut kafka = Kafka::start();
    kafka.create("nonsense", 1);
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path();
    let port = port::free();
    let pipeline = NONSENSE.replace("BROKERS", &kafka.brokers()) + SOCKET;
    fs::write(path.join("nonsense.toml"), pipeline.replace("PORT", &port.to_string()))
        .expect("room");
    let producer: BaseProducer = kafka.client().create().expect("a client");
    let (sender, log) = (UdpSocket::bind("127.0.0.1:0").expect("a port"), capture::esp32());
    let mut lines = log.split(|byte| *byte == b'\n').skip(1).cycle();
    let mut send = || {
        let line = lines.next().expect("they never end");
        sender.send_to(line, ("127.0.0.1", port)).expect("it is sent");
        let message: BaseRecord<'_, str, [u8]> = BaseRecord::to("nonsense").payload(b"nonsense");
        producer.send(message).map_err(|(error, _)| error).expect("room in the queue");
        // Messages arrive so often that the client never reaches the end of the partition.
        producer.flush(Duration::from_secs(30)).expect("it takes them");
    };
    let arguments = ["run", "nonsense.toml", "--listen", "127.0.0.1:0"];
    let mut server = process::Server::start(path, &arguments);
    server.wait_until(|| {
        send();
        frames(path).len() >= 20 && json_lines::records(&path.join("errors.jsonl")).len() >= 20
    });
    let health = || server.get("/api/v1/system/health").1;
    assert!(health().contains("\"healthy\""), "{}", health());
    kafka.kill();
    wait::until("it is reported", || health().contains("could not reach the kafka brokers"));
    kafka.restart();
    wait::until("it is over", || health().contains("\"healthy\""));
}

/// Returns the sequence number of each frame that was written.
fn frames(directory: &Path) -> Vec<u64> {
    let frames = json_lines::frames(&directory.join("out.jsonl"));
    frames.into_iter().map(|(number, _)| number).collect()
}
