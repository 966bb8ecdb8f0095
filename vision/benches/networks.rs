//! Speed of each network on one core, compared with ONNX Runtime on the same weights in one run.
//!
//! Ours includes the preparation of the picture and the reading of the output; ONNX Runtime's is the network alone.
//! Expected: between 0.7 and 1.2 times as fast.
//!
//! Needs `FRESNEL_PYTHON` with `onnxruntime` (`make bench` provides it), and `FRESNEL_DATA` with the weights as ONNX
//! files.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::env;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use vision::pictures::{Picture, Rectangle};
use vision::{ModelCard, Subject, add_model, cpu, load_detector, load_pose_estimator};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 40;
/// Networks with their files and the sides of their inputs.
const NETWORKS: [(&str, &str, usize, usize); 6] = [
    ("nanodet-g", "nanodet-g_416.from-tfjs.onnx", 416, 416),
    ("yolox-nano", "yolox_nano.onnx", 416, 416),
    ("movenet-lightning", "movenet-lightning.heads.onnx", 192, 192),
    ("movenet-thunder", "movenet-thunder.heads.onnx", 256, 256),
    ("tinypose-128x96", "tinypose_128x96.from-ncnn.onnx", 96, 128),
    ("tinypose-256x192", "tinypose_256x192.from-ncnn.onnx", 192, 256),
];

/// Prints the seconds of the fastest and of the median round.
const ONNX_RUNTIME: &str = r"
import sys, time, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
given = session.get_inputs()[0]
values = np.random.default_rng(1).random(given.shape, dtype=np.float32)
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    session.run(None, {given.name: values})
    times.append(time.perf_counter() - start)
times.sort()
print(times[0], times[len(times) // 2])
";

fn main() {
    let data = env::var_os("FRESNEL_DATA")
        .map_or_else(|| PathBuf::from("../../shared/data"), PathBuf::from);
    let weights = data.join("pose/weights");
    let models = tempfile::tempdir().expect("room for models");
    println!("milliseconds, fastest and median of {ROUNDS} rounds; ratio of the medians");
    for (name, file, width, height) in NETWORKS {
        let file = weights.join(file);
        add_model(models.path(), name, &file, ModelCard::default()).expect("weights");
        // Twice in turn, so that a disturbance does not meet one side only.
        let mut own = times(models.path(), name, width, height);
        let mut peer = of_onnx_runtime(&file);
        let again = (times(models.path(), name, width, height), of_onnx_runtime(&file));
        own = [own[0].min(again.0[0]), own[1].min(again.0[1])];
        peer = [peer[0].min(again.1[0]), peer[1].min(again.1[1])];
        println!(
            "{name:18} fresnel {:6.2} {:6.2}  onnxruntime {:6.2} {:6.2}  {:.2} times as fast",
            own[0] * 1e3,
            own[1] * 1e3,
            peer[0] * 1e3,
            peer[1] * 1e3,
            peer[1] / own[1],
        );
    }
}

fn times(models: &Path, name: &str, width: usize, height: usize) -> [f64; 2] {
    let pixels: Vec<u8> = (0..width * height * 3).map(|nth| (nth * 37 % 251) as u8).collect();
    let picture = Picture::new(width, height, &pixels).expect("a picture");
    let rectangle = Rectangle { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
    if let Ok(detector) = load_detector(models, name, &cpu()) {
        return rounds(|| drop(black_box(detector.network.detect(&[picture], 0.3))));
    }
    let estimator = load_pose_estimator(models, name, &cpu()).expect("a network");
    rounds(|| drop(black_box(estimator.network.estimate(&[Subject { picture, rectangle }]))))
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn rounds(mut run: impl FnMut()) -> [f64; 2] {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[ROUNDS / 2]]
}

fn of_onnx_runtime(file: &Path) -> [f64; 2] {
    let python = env::var_os("FRESNEL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    let output = command.args(["-c", ONNX_RUNTIME]).arg(file).arg(ROUNDS.to_string()).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    [numbers.next().expect("two"), numbers.next().expect("two")]
}
