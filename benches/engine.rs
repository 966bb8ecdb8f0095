//! Costs of the engine: records per second of a worker, the cost of checkpoints, the time of a restart, and
//! the age of records when a sink receives them.
//!
//! Expected: parsing dominates throughput; a checkpoint is a commit beside the dataflow; a restart reads
//! one row of the store; latency is the tick and a few wake-ups.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "a bench prints its measurements")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const N_EVENTS: u64 = 8_000_000;
const N_KEYS: u64 = 100_000;
const ROUNDS: usize = 5;
const FRESNEL: &str = env!("CARGO_BIN_EXE_fresnel");

/// Events of made-up devices, aggregated or passed through, with a checkpoint every `INTERVAL`.
const EVENTS: &str = r#"
name = "events"
api.auth = "off"
tick = "1s"
max_lead = "60s"
checkpoint = { interval = "INTERVAL" }

[sources.events]
type = "json"
transport = { file = "events.jsonl" }
fields = { ts_ms = "int", device_id = "text", confidence = "float" }
time = { field = "ts_ms" }

[operators.windows]
type = "windows"
inputs = ["events"]
key = ["device_id"]
window = { tumbling = { length = "LENGTH" } }
aggregates = { count = "count", mean = "mean(confidence)" }

[sinks.lines]
type = "json_lines"
inputs = ["INPUT"]
path = "out.jsonl"
"#;

/// Lines of many boards, and motion on their links.
const BOARDS: &str = r#"
name = "boards"
api.auth = "off"

[sources.hall]
type = "csi"
format = "esp32"
transport = { udp = "ADDRESS" }

[operators.motion]
type = "motion"
inputs = ["hall"]
report_every = "10ms"

[sinks.live]
type = "live"
inputs = ["motion"]
"#;

fn main() {
    let folder = tempfile::tempdir().expect("room");
    let path = folder.path();
    write_events(&path.join("events.jsonl"), N_EVENTS, 64);
    let throughput = |input: &str, interval: &str| {
        write_pipeline(path, input, interval, "1s");
        let started = Instant::now();
        let status = run(path, &["events.toml", "--fresh"]).wait();
        assert!(status.expect("it ends").success());
        N_EVENTS as f64 / started.elapsed().as_secs_f64()
    };
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(throughput("events", "1s"));
        rounds[1].push(throughput("windows", "1s"));
        rounds[2].push(throughput("windows", "1h"));
    }
    let [passthrough, windows, without] = rounds.map(median);
    println!("passed on: {:.2} M records/s with one worker", passthrough * 1e-6);
    println!("keyed windows: {:.2} M records/s with one worker", windows * 1e-6);
    println!("checkpoints every second cost {:.1} % of it", (1.0 - windows / without) * 100.0);
    restart(path);
    latency(path);
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn write_pipeline(folder: &Path, input: &str, interval: &str, length: &str) {
    let text = EVENTS.replace("INPUT", input).replace("INTERVAL", interval);
    fs::write(folder.join("events.toml"), text.replace("LENGTH", length)).expect("room");
}

/// Writes events, one millisecond apart.
fn write_events(path: &Path, n_events: u64, n_keys: u64) {
    let mut file = BufWriter::new(File::create(path).expect("room"));
    for nth in 0..n_events {
        let (ts_ms, device) = (1_767_225_600_000 + nth, nth * 7919 % n_keys);
        let confidence = (nth % 1000) as f64 * 1e-3;
        writeln!(
            file,
            "{{\"ts_ms\":{ts_ms},\"device_id\":\"dev-{device:06}\",\"confidence\":{confidence:.3}}}"
        )
        .expect("room");
    }
    file.flush().expect("room");
}

fn run(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(FRESNEL);
    command.arg("run").args(arguments).current_dir(folder);
    command.stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Waits until the run listens, and returns its address.
fn serving(run: &mut Child) -> String {
    let mut said = BufReader::new(run.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while said.read_line(&mut line).expect("text") > 0 {
        if let Some((_, address)) = line.split_once("listening on http://") {
            return address.trim().to_owned();
        }
        line.clear();
    }
    panic!("it ended before it listened");
}

fn metrics(address: &str) -> String {
    let response = ureq::get(format!("http://{address}/metrics")).call().expect("it answers");
    response.into_body().read_to_string().expect("text")
}

/// Kills a run with state for many keys, and measures the time until the next run reads again.
fn restart(folder: &Path) {
    write_events(&folder.join("events.jsonl"), N_EVENTS / 2, N_KEYS);
    write_pipeline(folder, "windows", "100ms", "1000000s");
    let arguments = ["events.toml", "--listen", "127.0.0.1:0"];
    let mut first = run(folder, &[&arguments[..], &["--fresh"]].concat());
    let address = serving(&mut first);
    let read = |address: &str| {
        let metrics = metrics(address);
        let counter = "fresnel_records_total{component=\"events\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(counter));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    while read(&address) < N_EVENTS / 4 {}
    first.kill().and_then(|()| first.wait()).expect("it is ours");
    let mut inspect = Command::new(FRESNEL);
    let inspect = inspect.args(["checkpoint", "inspect", "events"]).current_dir(folder);
    let saved = inspect.output().expect("it starts");
    println!("{}", String::from_utf8_lossy(&saved.stdout).trim());
    let started = Instant::now();
    let mut second = run(folder, &arguments);
    let address = serving(&mut second);
    while read(&address) == 0 {}
    let took = started.elapsed();
    second.kill().and_then(|()| second.wait()).expect("it is ours");
    println!("reading on after {:.2} s with {N_KEYS} keys", took.as_secs_f64());
}

/// Measures the age of frames when their motion reaches a sink. Each board sends a hundred frames a second.
fn latency(folder: &Path) {
    const BOARDS_N: u64 = 64;
    const SECONDS: u64 = 20;
    let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let to = address.expect("a free port").to_string();
    fs::write(folder.join("boards.toml"), BOARDS.replace("ADDRESS", &to)).expect("room");
    let mut server = run(folder, &["boards.toml", "--fresh", "--listen", "127.0.0.1:0"]);
    let address = serving(&mut server);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let started = Instant::now();
    let mut line = String::new();
    for nth in 0..SECONDS * 100 * BOARDS_N {
        let due = started + Duration::from_micros(nth * 10_000 / BOARDS_N);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (board, frame) = (nth % BOARDS_N, nth / BOARDS_N);
        line.clear();
        let list: Vec<_> = (0..128).map(|part| ((part * 7 + frame) % 23).to_string()).collect();
        write!(
            line,
            "CSI_DATA,{frame},94:d9:b3:80:8c:{board:02x},-30,11,1,6,1,0,1,0,1,0,0,-93,0,13,0,{},0,67,0,\
             128,1,\"[{}]\"",
            frame * 10_000,
            list.join(",")
        )
        .expect("a string takes it");
        socket.send_to(line.as_bytes(), &to).expect("it listens");
    }
    let metrics = metrics(&address);
    server.kill().and_then(|()| server.wait()).expect("it is ours");
    let bucket = "fresnel_latency_seconds_bucket{component=\"live\",le=\"";
    let buckets: Vec<(f64, u64)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(bucket)?.split_once("\"} "))
        .map(|(bound, count)| {
            (bound.parse().unwrap_or(f64::INFINITY), count.parse().expect("a number"))
        })
        .collect();
    let n_records = buckets.last().map_or(0, |(_, count)| *count);
    let quantile = |share: f64| {
        let found = buckets.iter().find(|(_, count)| *count as f64 >= share * n_records as f64);
        found.map_or(f64::NAN, |(bound_s, _)| bound_s * 1e3)
    };
    println!(
        "{n_records} reports of {BOARDS_N} boards: half within {} ms of their tick's start, 99 % within {} ms",
        quantile(0.5),
        quantile(0.99)
    );
}
