//! Outputs of networks compared with those of ONNX Runtime on the same weights, for tests.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use burn::tensor::{Device, Tensor, TensorData};

use crate::weights::{Onnx, Weights};

/// Reads an input `[1, rows, columns, 3]`, and writes all outputs, those of pictures with channels last.
const ONNX_RUNTIME: &str = r"
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
given = session.get_inputs()[0]
_, channels, rows, columns = given.shape
values = np.frombuffer(sys.stdin.buffer.read(), np.float32).reshape(1, rows, columns, channels)
for output in session.run(None, {given.name: np.ascontiguousarray(np.moveaxis(values, -1, 1))}):
    output = np.moveaxis(output, 1, -1) if output.ndim == 4 else output
    sys.stdout.buffer.write(output.astype(np.float32).tobytes())
";

/// Checks a network's outputs for a picture of random values from 0 to `highest`.
///
/// # Shapes
///
/// - network: `[1, rows, columns, 3]` to the values of all outputs, in the order of the file
pub(super) fn assert_equal_outputs(
    file: &str,
    [rows, columns]: [usize; 2],
    highest: f32,
    network: impl FnOnce(&mut dyn Weights, &Device, Tensor<4>) -> Vec<f32>,
) {
    let data = env::var_os("FRESNEL_DATA").expect("FRESNEL_DATA is set");
    let file = PathBuf::from(data).join("pose/weights").join(file);
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * highest
    };
    let input: Vec<f32> = (0..rows * columns * 3).map(|_| random()).collect();
    let expected = of_onnx_runtime(&file, &input);
    let (device, mut weights) = (Device::flex(), Onnx::open(&file).expect("weights"));
    let input = Tensor::from_data(TensorData::new(input, [1, rows, columns, 3]), &device);
    let actual = network(&mut weights, &device, input);
    assert_eq!(actual.len(), expected.len());
    for (nth, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        let error = (actual - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-3, "value {nth} is {actual} instead of {expected}");
    }
}

fn of_onnx_runtime(file: &Path, input: &[f32]) -> Vec<f32> {
    let python = env::var_os("FRESNEL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", ONNX_RUNTIME]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("python starts");
    let mut to = process.stdin.take().expect("a pipe");
    to.write_all(bytemuck::cast_slice(input)).expect("python reads");
    drop(to);
    let output = process.wait_with_output().expect("python ends");
    assert!(output.status.success(), "ONNX Runtime failed");
    output.stdout.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
