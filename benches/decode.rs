//! Decoding an Intel 5300 log against csiread, in one run on the same bytes.
//!
//! Expected: csiread makes complex128 in compiled loops; we make half the bytes, but also ticks, batches
//! and signal strengths: about its speed. Machines are noisy: only the ratio of the medians means anything.
//!
//! Needs `FRESNEL_PYTHON` with `csiread` (`make bench` sees to it).

use std::process::Command;
use std::time::Instant;

use schemas::{SourceKind, TickLength};
use sources::{CsiFormat, Intake, LinkNames, SourceContext, Step};

#[path = "../tests/support/capture.rs"]
mod capture;

/// Copies of the made-up log, so that one round takes a while.
const COPIES: usize = 40;
const ROUNDS: usize = 9;

const PEER: &str = "
import csiread, statistics, sys, time
path, rounds = sys.argv[1], int(sys.argv[2])
reader, times = csiread.Intel(path, nrxnum=3, ntxnum=1, if_report=False), []
for _ in range(rounds):
    start = time.perf_counter()
    reader.read()
    times.append(time.perf_counter() - start)
print(reader.count, statistics.median(times))
";

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn main() {
    let log = capture::recorded(CsiFormat::Intel5300).repeat(COPIES);
    let file = tempfile::NamedTempFile::new().expect("room");
    std::fs::write(file.path(), &log).expect("room");
    // Both read the file and decode it whole.
    let mut times: Vec<_> = (0..ROUNDS).map(|_| decode(file.path())).collect();
    times.sort_by(f64::total_cmp);
    let (ours_s, peers_s) = (times[ROUNDS / 2], peer(file.path()));
    println!("intel5300, {} MB, {} frames", log.len() / 1_000_000, COPIES * capture::N_FRAMES);
    println!("fresnel is {:.2} times as fast as csiread", peers_s / ours_s);
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn decode(path: &std::path::Path) -> f64 {
    let started = Instant::now();
    let bytes = std::fs::read(path).expect("it was written");
    let mut decoder = CsiFormat::Intel5300.decoder();
    let tick_length = TickLength::from_ms(1000);
    let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
    let mut intake = Intake::new(LinkNames::default(), SourceKind::Replay, &context);
    let (mut rest, mut n_frames) = (bytes.as_slice(), 0);
    while !rest.is_empty() {
        let step = decoder.decode(rest, true, &mut intake);
        let Step::Used(used) = step else { panic!("the log is good: {step:?}") };
        rest = &rest[used..];
        if intake.len() >= 512 || rest.is_empty() {
            n_frames += intake.len();
            std::hint::black_box(intake.take());
        }
    }
    assert_eq!(n_frames, COPIES * capture::N_FRAMES);
    started.elapsed().as_secs_f64()
}

fn peer(path: &std::path::Path) -> f64 {
    let python =
        std::env::var("FRESNEL_PYTHON").expect("FRESNEL_PYTHON names a Python with csiread");
    let output = Command::new(python).args(["-c", PEER]).arg(path).arg(ROUNDS.to_string()).output();
    let output = output.expect("python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let (n_frames, seconds) = said
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| panic!("csiread failed: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(n_frames.parse(), Ok(COPIES * capture::N_FRAMES), "csiread sees the same frames");
    seconds.parse().expect("seconds")
}
