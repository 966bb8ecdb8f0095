//! Speed of decoding captures of every format, compared with csiread in one run on the same bytes, on one
//! core.
//!
//! Expected: several times the speed of csiread. csiread makes complex128 in compiled loops. Fresnel makes
//! half the bytes, but also ticks, batches, signal strengths and scales. Machines are noisy, so the rounds
//! alternate, and only the ratio of the fastest ones is meaningful. A plain copy of the same bytes shows how
//! near that is to the machine's own limit.
//!
//! Needs `FRESNEL_PYTHON` with `csiread` (`make bench` provides it), and the folder of real captures that the
//! tests use. Without that folder, the bench decodes only the made-up captures of the tests.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use schemas::TickLength;
use serde_json::json;
use sources::{CsiFormat, PollState, SourceConfig, SourceContext};

#[expect(dead_code, reason = "it makes captures for tests, too")]
#[path = "../../tests/support/capture.rs"]
mod capture;
#[path = "../../tests/support/data.rs"]
mod data;

// The same allocator as the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 15;
/// Minimum number of bytes of a round; shorter captures are repeated, so that one round takes a while.
const MIN_BYTES: usize = 32_000_000;
const PIECE_BYTES: usize = 256 * 1024;
const PCAP_HEADER_BYTES: usize = 24;

/// csiread's code for each format; `path` is the file.
const CASES: [(CsiFormat, &str, &str); 10] = [
    (
        CsiFormat::Intel5300,
        "intel5300/csiread_sample_0x5_64_3000.dat",
        "csiread.Intel(path, 3, 1, 0, False)",
    ),
    (
        CsiFormat::Intel5300,
        "intel5300/csiread_sample_0x1_ap.dat",
        "csiread.Intel(path, 3, 2, 0, False)",
    ),
    (
        CsiFormat::Atheros,
        "atheros/csiread_ath_csi_1.dat",
        "csiread.Atheros(path, 3, 2, 0, 56, False)",
    ),
    (CsiFormat::Nexmon, "nexmon/csikit_4339.pcap", "csiread.Nexmon(path, '4339', 80, False)"),
    (CsiFormat::Nexmon, "nexmon/csikit_43455c0.pcap", "csiread.Nexmon(path, '43455c0', 80, False)"),
    (CsiFormat::Nexmon, "nexmon/csikit_4366c0.pcap", "csiread.Nexmon(path, '4366c0', 80, False)"),
    (CsiFormat::Esp32, "esp32/esp32csitool_example_csi.csv", "csiread.ESP32(path, False)"),
    (
        CsiFormat::Picoscenes,
        "picoscenes/csikit_ax200_agcdemo.csi",
        "csiread.Picoscenes(path, {'CSI': [56, 2, 1]}, False)",
    ),
    (
        CsiFormat::Picoscenes,
        "picoscenes/csiread_rx_by_qca9300.csi",
        "csiread.Picoscenes(path, {'CSI': [56, 3, 1]}, False)",
    ),
    (
        CsiFormat::Picoscenes,
        "picoscenes/csiread_rx_by_iwl5300.csi",
        "csiread.Picoscenes(path, {'CSI': [30, 3, 3]}, False)",
    ),
];

/// Formats that csiread does not support.
const ALONE: [(CsiFormat, &str); 2] = [
    (CsiFormat::Feitcsi, "feitcsi/csikit_HESU160_5500.csi"),
    (CsiFormat::Ruview, "ruview-adr018/pretrain_adr018_udp5005.pcap"),
];

const PEER: &str = "
import csiread, sys, time
path = sys.argv[1]
for _ in sys.stdin:
    reader = READER
    start = time.perf_counter()
    reader.read()
    seconds = time.perf_counter() - start
    print(seconds, getattr(reader, 'count', None) or len(reader.csi), flush=True)
";

#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn main() {
    println!("{:<46} {:>7} {:>9} {:>6} {:>8}", "capture", "MB/s", "frames/s", "copy", "csiread");
    if !data::there() {
        let peer = Some("csiread.Intel(path, 3, 1, 0, False)");
        measure("a made-up log", CsiFormat::Intel5300, &capture::intel5300(), peer);
        measure("made-up lines", CsiFormat::Esp32, &capture::esp32(), None);
        return;
    }
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let alone = ALONE.map(|(format, name)| (format, name, None));
    for (format, name, peer) in
        CASES.map(|(format, name, peer)| (format, name, Some(peer))).into_iter().chain(alone)
    {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted)) {
            continue;
        }
        let capture = fs::read(data::file(&format!("csi/{name}"))).expect("the capture");
        measure(name, format, &capture, peer);
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn measure(name: &str, format: CsiFormat, capture: &[u8], peer_reader: Option<&str>) {
    let file = tempfile::NamedTempFile::new().expect("room");
    let bytes = repeated(format, capture);
    fs::write(file.path(), &bytes).expect("room");
    let mut peer = peer_reader.map(|reader| Peer::start(file.path(), reader));
    let (mut copy_s, mut ours_s, mut theirs_s) = (f64::MAX, f64::MAX, f64::MAX);
    let mut n_frames = 0;
    // The rounds alternate, so that other load on the machine affects all of them. All read the file; Fresnel
    // and csiread decode it completely.
    for _ in 0..ROUNDS {
        copy_s = copy_s.min(copy(file.path()));
        let (seconds, n_ours) = decode(format, file.path());
        (ours_s, n_frames) = (ours_s.min(seconds), n_ours);
        if let Some(peer) = &mut peer {
            let (seconds, n_theirs) = peer.decode();
            assert_eq!(n_theirs, n_frames, "{name}: csiread sees the same frames");
            theirs_s = theirs_s.min(seconds);
        }
    }
    let ratio = peer.map(|_| theirs_s / ours_s);
    let per_s = |n: usize| n as f64 / ours_s;
    println!(
        "{name:<46} {:>7.0} {:>9.0} {:>5.2}x {:>7}",
        per_s(bytes.len()) / 1e6,
        per_s(n_frames),
        ours_s / copy_s,
        ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x")),
    );
}

/// Returns the records of a capture several times, after its header once.
fn repeated(format: CsiFormat, capture: &[u8]) -> Vec<u8> {
    let header_bytes = match format {
        CsiFormat::Nexmon | CsiFormat::Ruview => PCAP_HEADER_BYTES,
        _ => 0,
    };
    let (header, records) = capture.split_at(header_bytes);
    [header, &records.repeat(MIN_BYTES.div_ceil(records.len()))].concat()
}

/// Reads a file in pieces, copies each, and returns the seconds.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn copy(path: &Path) -> f64 {
    let started = Instant::now();
    let mut file = File::open(path).expect("it was written");
    let (mut piece, mut copied) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let n_bytes = file.read(&mut piece).expect("it can be read");
        if n_bytes == 0 {
            return started.elapsed().as_secs_f64();
        }
        copied[..n_bytes].copy_from_slice(black_box(&piece[..n_bytes]));
        black_box(&copied);
    }
}

/// Reads a capture as a pipeline does, up to the batches. Returns the seconds and the number of frames.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn decode(format: CsiFormat, path: &Path) -> (f64, usize) {
    let config =
        json!({ "csi": { "format": format, "transport": { "file": path }, "clock": "arrival" } });
    let config: SourceConfig = serde_json::from_value(config).expect("a source");
    let tick_length = TickLength::from_ms(10);
    let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
    let started = Instant::now();
    let mut partitions = config.open(&context).expect("the capture opens");
    let mut n_frames = 0;
    loop {
        let poll = partitions[0].source.poll().expect("it can be read");
        n_frames += poll.records.iter().map(|(_, record)| record.len()).sum::<usize>();
        if black_box(poll).state == PollState::End {
            return (started.elapsed().as_secs_f64(), n_frames);
        }
    }
}

/// csiread in a process of its own, which decodes on request.
struct Peer {
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    process: Child,
}

impl Peer {
    fn start(path: &Path, reader: &str) -> Self {
        let python =
            std::env::var_os("FRESNEL_PYTHON").expect("FRESNEL_PYTHON names a Python with csiread");
        let mut command = Command::new(python);
        command.args(["-c", &PEER.replace("READER", reader)]).arg(path);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let asks = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { asks, answers, process }
    }

    /// Requests csiread to decode the capture. Returns the seconds and the number of frames.
    fn decode(&mut self) -> (f64, usize) {
        writeln!(self.asks).expect("csiread goes on");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it prints text");
        let (seconds, n_frames) = line.trim().split_once(' ').expect("csiread goes on");
        (seconds.parse().expect("seconds"), n_frames.parse().expect("a number"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it is ours");
    }
}
