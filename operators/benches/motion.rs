//! Speed of motion detection on one core, compared with the same chain in `NumPy` on the same frames in one run.
//!
//! Expected: several times `NumPy`, which goes through whole arrays, although Fresnel goes from frame to frame.
//! The second figure is the share of a core that 64 links at 100 frames a second take.
//!
//! Needs `FRESNEL_PYTHON` with `NumPy` (`make bench` provides it).

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use num_complex::Complex32;
use operators::{MotionConfig, MotionDetector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};

const N_FRAMES: usize = 20_000;
const N_SUBCARRIERS: i16 = 64;
const FRAMES_PER_BATCH: usize = 10;
const ROUNDS: usize = 7;
/// Frames in a second of 64 links.
const FRAMES_PER_S: f64 = 6400.0;

/// The chain of the operator: relative amplitudes of 12 subcarriers, the Hampel filter, and both moments of the
/// moving window of 75 frames. Prints the seconds of the fastest round.
const NUMPY: &str = r"
import sys, time
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as windows
values = np.fromfile(sys.argv[1], np.complex64).reshape(-1, 64)
best = 1e9
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    a = np.abs(values[:, 2::5][:, :12])
    a = a / np.sqrt((a * a).mean(1, keepdims=True))
    recent = windows(a, 9, axis=0)
    median = np.median(recent, -1)
    mad = np.median(np.abs(recent - median[..., None]), -1)
    a = a[8:]
    a = np.where(np.abs(a - median) > 4 * 1.4826 * mad, median, a)
    w = windows(a, 75, axis=0)
    d = w - w.mean(-1, keepdims=True)
    variance = (d * d).mean(-1)
    correlation = (d[..., 1:] * d[..., :-1]).mean(-1) / variance
    moments = variance.mean(1), correlation.mean(1)
    best = min(best, time.perf_counter() - start)
print(best)
";

fn frames() -> Vec<CsiBatch> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let subcarriers = (0..N_SUBCARRIERS).collect();
    let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers, ..CsiLayout::default() };
    let layout = std::sync::Arc::new(layout);
    let mut captured_at_ns = 0;
    let batches = (0..N_FRAMES / FRAMES_PER_BATCH).map(|_| {
        let mut batch = CsiBatch::new(Link::default(), layout.clone(), SourceKind::Simulated);
        for _ in 0..FRAMES_PER_BATCH {
            batch.iq.extend((0..N_SUBCARRIERS).map(|_| {
                Complex32::new(random.random_range(20.0..21.0), random.random_range(-1.0..1.0))
            }));
            captured_at_ns += 10_000_000;
            let frame = CsiFrame { captured_at_ns, ..CsiFrame::default() };
            batch.push_scalars(frame).expect("the frame is full");
        }
        batch
    });
    batches.collect()
}

/// Returns the seconds of the fastest round.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn ours(batches: &[CsiBatch]) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let (mut detector, mut reports) =
            (MotionDetector::new(MotionConfig::default()), Vec::new());
        let start = Instant::now();
        for batch in batches {
            detector.observe(batch, &mut reports);
        }
        black_box(&reports);
        start.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn numpy(batches: &[CsiBatch]) -> Option<f64> {
    let python = env::var_os("FRESNEL_PYTHON")?;
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("frames");
    let values = batches.iter().flat_map(|batch| &batch.iq);
    let bytes = values.flat_map(|value| [value.re, value.im].map(f32::to_le_bytes)).flatten();
    fs::write(&path, bytes.collect::<Vec<_>>()).expect("room");
    let rounds = ROUNDS.to_string();
    let output = Command::new(python).args(["-c", NUMPY]).arg(&path).arg(rounds).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.trim().parse().expect("a number"))
}

#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn main() {
    let batches = frames();
    let ours_s = ours(&batches);
    let share = ours_s / N_FRAMES as f64 * FRAMES_PER_S;
    println!("64 links at 100 frames a second: {:.2} % of a core", 100.0 * share);
    match numpy(&batches) {
        Some(numpy_s) => println!("{:.1} times as fast as NumPy", numpy_s / ours_s),
        None => println!("no FRESNEL_PYTHON: not compared with NumPy"),
    }
}
