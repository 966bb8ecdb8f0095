//! Depthwise convolution: each channel has a filter of its own.
//!
//! Channels are last, so a vector holds neighbouring channels of one pixel. A few output pixels are computed
//! at once, because neighbouring pixels share most of their inputs. Pixels outside the picture are a run of
//! zeros, so that borders are not a case of their own.

use pulp::Simd;

use super::convolution::{Convolution, Kernel};

/// Output pixels that are computed at once.
const PIXELS: usize = 4;

/// Convolves each channel by itself. Weights: see [`super::pack_depthwise`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Depthwise;

impl Kernel for Depthwise {
    #[inline(always)]
    fn run<S: Simd>(simd: S, run: &Convolution<'_>, output: &mut [f32]) {
        let zeros = vec![0.0; run.input_map.channels];
        match (run.filter.size, run.filter.stride) {
            (3, 1) => rows::<S, 3, 6>(simd, run, &zeros, output),
            (3, 2) => rows::<S, 3, 9>(simd, run, &zeros, output),
            (5, 1) => rows::<S, 5, 8>(simd, run, &zeros, output),
            (5, 2) => rows::<S, 5, 11>(simd, run, &zeros, output),
            (size, stride) => unreachable!("a depthwise filter of {size} with stride {stride}"),
        }
    }
}

/// Computes all rows; `C` is the number of input columns that `PIXELS` output pixels need.
#[inline(always)]
fn rows<S: Simd, const K: usize, const C: usize>(
    simd: S,
    run: &Convolution<'_>,
    zeros: &[f32],
    output: &mut [f32],
) {
    let (from, to) = (run.input_map, run.output_map);
    let pixel = |picture: usize, row: isize, column: isize| -> &[f32] {
        let (rows, columns) = (from.rows.cast_signed(), from.columns.cast_signed());
        if row < 0 || column < 0 || row >= rows || column >= columns {
            return zeros;
        }
        let nth =
            (picture * from.rows + row.cast_unsigned()) * from.columns + column.cast_unsigned();
        &run.input[nth * from.channels..][..from.channels]
    };
    let stride = run.filter.stride;
    let before = run.filter.padding.cast_signed();
    for (nth, line) in output.chunks_exact_mut(to.columns * to.channels).enumerate() {
        let (picture, row) = (nth / to.rows, nth % to.rows);
        let top = (row * stride).cast_signed() - before;
        for (nth, pixels) in line.chunks_mut(PIXELS * to.channels).enumerate() {
            let left = (nth * PIXELS * stride).cast_signed() - before;
            let mut inputs = [[zeros; C]; K];
            for (down, inputs) in inputs.iter_mut().enumerate() {
                for (across, input) in inputs.iter_mut().enumerate() {
                    *input = pixel(picture, top + down.cast_signed(), left + across.cast_signed());
                }
            }
            tile::<S, K, C>(simd, run, &inputs, pixels);
        }
    }
}

/// Computes up to `PIXELS` neighbouring pixels.
#[inline(always)]
fn tile<S: Simd, const K: usize, const C: usize>(
    simd: S,
    run: &Convolution<'_>,
    inputs: &[[&[f32]; C]; K],
    pixels: &mut [f32],
) {
    let (channels, lanes) = (run.output_map.channels, S::F32_LANES);
    let (bias, weight) = (S::as_simd_f32s(run.bias).0, S::as_simd_f32s(run.weight).0);
    let (n, full) = (bias.len(), channels / lanes);
    let weight = &weight[..n * K * K];
    let stride = run.filter.stride;
    for vector in 0..n {
        let from = vector * lanes;
        let mut sums = [bias[vector]; PIXELS];
        for (down, inputs) in inputs.iter().enumerate() {
            let mut columns = [bias[vector]; C];
            for (column, input) in columns.iter_mut().zip(inputs) {
                *column = if vector < full {
                    S::as_simd_f32s(&input[from..from + lanes]).0[0]
                } else {
                    simd.partial_load_f32s(&input[from..])
                };
            }
            for across in 0..K {
                let weight = weight[(down * K + across) * n + vector];
                for (nth, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.mul_add_e_f32s(columns[nth * stride + across], weight, *sum);
                }
            }
        }
        for (pixel, sum) in pixels.chunks_exact_mut(channels).zip(sums) {
            let value = run.activation.apply(simd, sum);
            if let Some(full) = pixel.get_mut(from..from + lanes) {
                S::as_mut_simd_f32s(full).0[0] = value;
            } else {
                simd.partial_store_f32s(&mut pixel[from..], value);
            }
        }
    }
}
