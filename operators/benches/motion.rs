//! Speed of motion detection on one core, compared with the same chain in `NumPy` on the same frames in one run: each
//! kernel, and all of them.
//!
//! Expected: several times `NumPy`, which goes through whole arrays, although Fresnel goes from frame to frame.
//! The last figure is the share of a core that 64 links at 100 frames a second take.
//!
//! Needs `FRESNEL_PYTHON` with `NumPy` (`make bench` provides it).

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use num_complex::Complex32;
use operators::{
    ColumnStatistics, ColumnSums, Hampel, MotionConfig, MotionDetector, MovingWindow,
    find_breathing, moments, relative_amplitudes,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};

const N_FRAMES: usize = 20_000;
const N_SUBCARRIERS: i16 = 64;
const N_COLUMNS: usize = 12;
const FRAMES_PER_BATCH: usize = 10;
const ROUNDS: usize = 7;
/// Frames in a second of 64 links.
const FRAMES_PER_S: f64 = 6400.0;
/// The window of breathing: 30 s at 5 rows a second, which is looked at ten times in a round.
const BREATHING_ROWS: usize = 150;
const BREATHING_LOOKS: usize = 10;

/// The kernels of the operator, and their chain: relative amplitudes of 12 subcarriers, the Hampel filter, and
/// both moments of the moving window of 75 frames. Prints the seconds of the fastest round of each.
const NUMPY: &str = r"
import sys, time
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as windows
values = np.fromfile(sys.argv[1], np.complex64).reshape(-1, 64)
def amplitudes():
    a = np.abs(values[:, 2::5][:, :12])
    return a / np.sqrt((a * a).mean(1, keepdims=True))
def hampel(a):
    recent = windows(a, 15, axis=0)
    median = np.median(recent, -1)
    mad = np.median(np.abs(recent - median[..., None]), -1)
    a = a[14:]
    return np.where(np.abs(a - median) > 4 * 1.4826 * mad, median, a)
def moments(a):
    w = windows(a, 75, axis=0)
    d = w - w.mean(-1, keepdims=True)
    variance = (d * d).mean(-1)
    correlation = (d[..., 1:] * d[..., :-1]).mean(-1) / variance
    return variance.mean(1), correlation.mean(1)
def index(a):
    mean, deviation = a.mean(0), a.std(0)
    return 0.75 * deviation / mean ** 2 + 0.25 * deviation / mean
def breathing(a):
    for look in range(10):
        w = a[150 * look:150 * look + 150].astype(np.float32)
        t = np.arange(150)
        w = w - np.stack([np.polyval(np.polyfit(t, c, 1), t) for c in w.T], 1)
        w = w / (np.diff(w, 2, axis=0).std(0) / 6 ** 0.5)
        power = np.abs(np.fft.rfft(w * np.hanning(150)[:, None], 300, axis=0)[:61]) ** 2
        spectrum = power.mean(1)
        r = np.fft.irfft(np.abs(np.fft.rfft(w, 300, axis=0)) ** 2, axis=0).mean(1)
        spectrum.argmax(), r[10:50].argmax()
def chain():
    return moments(hampel(amplitudes()))
a = amplitudes()
h = hampel(a)
for name, run in [('amplitudes', amplitudes), ('outliers', lambda: hampel(a)),
                  ('moments', lambda: moments(h)), ('index of subcarriers', lambda: index(a)),
                  ('breathing', lambda: breathing(a)), ('chain', chain)]:
    best = 1e9
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    print(name, best, sep='\t')
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
fn fastest(mut round: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Returns the seconds of each kernel, as the operator calls it: frame by frame.
fn kernels(batches: &[CsiBatch]) -> Vec<(&'static str, f64)> {
    let chosen: Vec<_> = (0..N_COLUMNS).map(|nth| 2 + 5 * nth).collect();
    let frames: Vec<_> =
        batches.iter().flat_map(|batch| (0..batch.len()).map(|at| batch.values(at))).collect();
    let mut row = Vec::new();
    let amplitudes = fastest(|| {
        for frame in &frames {
            relative_amplitudes(frame, &chosen, &mut row);
            black_box(&row);
        }
    });
    let rows: Vec<_> = frames
        .iter()
        .flat_map(|frame| {
            relative_amplitudes(frame, &chosen, &mut row);
            row.clone()
        })
        .collect();
    let outliers = fastest(|| {
        let mut hampel = Hampel::new(15, 4.0);
        for values in rows.chunks_exact(N_COLUMNS) {
            row.clear();
            row.extend_from_slice(values);
            hampel.filter(&mut row);
            black_box(&row);
        }
    });
    let window_moments = fastest(|| {
        let mut window = MovingWindow::new(75.try_into().expect("not zero"));
        let mut sums = ColumnSums::default();
        for values in rows.chunks_exact(N_COLUMNS) {
            black_box(window.push(values).map(|window| moments(window, N_COLUMNS, &mut sums)));
        }
    });
    let index = fastest(|| {
        let mut statistics = ColumnStatistics::default();
        for values in rows.chunks_exact(N_COLUMNS) {
            statistics.add(values);
        }
        black_box(statistics.nbvi());
    });
    let breathing = fastest(|| {
        for window in rows.chunks_exact(BREATHING_ROWS * N_COLUMNS).take(BREATHING_LOOKS) {
            black_box(find_breathing(window, N_COLUMNS, 5.0));
        }
    });
    vec![
        ("amplitudes", amplitudes),
        ("outliers", outliers),
        ("moments", window_moments),
        ("index of subcarriers", index),
        ("breathing", breathing),
    ]
}

/// Returns the seconds of the whole detection.
fn detection(batches: &[CsiBatch], config: &MotionConfig) -> f64 {
    fastest(|| {
        let (mut detector, mut reports) = (MotionDetector::new(config.clone()), Vec::new());
        for batch in batches {
            detector.observe(batch, &mut reports);
        }
        black_box(&reports);
    })
}

/// Returns the seconds of each kernel; None without a Python.
fn numpy(batches: &[CsiBatch]) -> Option<BTreeMap<String, f64>> {
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
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (name, seconds) = line.split_once('\t').expect("a name and a number");
        (name.to_owned(), seconds.parse().expect("a number"))
    };
    Some(text.lines().map(line).collect())
}

#[expect(clippy::print_stdout, reason = "a bench prints its measurements")]
fn main() {
    let batches = frames();
    let mut ours = kernels(&batches);
    ours.push(("chain", detection(&batches, &MotionConfig::default())));
    match numpy(&batches) {
        Some(numpy) => {
            for (name, seconds) in &ours {
                println!("{name}: {:.1} times as fast as NumPy", numpy[*name] / seconds);
            }
        }
        None => println!("no FRESNEL_PYTHON: not compared with NumPy"),
    }
    for breathing in [false, true] {
        let config = MotionConfig { breathing, ..MotionConfig::default() };
        let share = detection(&batches, &config) / N_FRAMES as f64 * FRAMES_PER_S;
        let with = if breathing { ", with breathing" } else { "" };
        println!("64 links at 100 frames a second{with}: {:.2} % of a core", 100.0 * share);
    }
}
