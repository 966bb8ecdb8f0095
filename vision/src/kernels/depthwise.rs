//! Depthwise convolution: each channel has a filter of its own.
//!
//! Channels are last, so a vector holds neighbouring channels of one pixel. Some output pixels are computed at once,
//! because neighbouring pixels share most of their inputs. The last vector overlaps the one before it, so that all of
//! them are full. Rows of the input have zeros on both sides, so that borders are not a case of their own.

use pulp::Simd;

use super::convolution::Convolution;
use super::rows::Rows;

/// Returns the tile width for rows of the output, in pixels.
pub(super) fn pixels_at_once<S: Simd>(columns: usize) -> usize {
    let rest = columns % 8;
    // Processors with 16 vector registers have room for tiles of four pixels only.
    if S::REGISTER_COUNT >= 32 && (rest == 0 || rest > 4) { 8 } else { 4 }
}

/// Computes a row of the output; rows are counted over all pictures. Weights: see [`super::pack_depthwise`].
#[inline(always)]
pub(super) fn row<S: Simd>(
    simd: S,
    run: &Convolution<'_>,
    input: &Rows,
    row: usize,
    output: &mut [f32],
) {
    match (run.filter.size, run.filter.stride, pixels_at_once::<S>(run.output_map.columns)) {
        (3, 1, 8) => row_of::<S, 3, 8, 10>(simd, run, input, row, output),
        (3, 1, _) => row_of::<S, 3, 4, 6>(simd, run, input, row, output),
        (3, 2, 8) => row_of::<S, 3, 8, 17>(simd, run, input, row, output),
        (3, 2, _) => row_of::<S, 3, 4, 9>(simd, run, input, row, output),
        (size, stride, _) => unreachable!("a depthwise filter of {size} with stride {stride}"),
    }
}

/// The same for a filter of `K`, with `P` pixels at once, which need `C` columns of the input.
#[inline(always)]
fn row_of<S: Simd, const K: usize, const P: usize, const C: usize>(
    simd: S,
    run: &Convolution<'_>,
    input: &Rows,
    row: usize,
    output: &mut [f32],
) {
    let (from, to, filter) = (run.input.map, run.output_map, run.filter);
    let (picture, row) = (row / to.rows, row % to.rows);
    let mut lines = [None; K];
    for (down, line) in lines.iter_mut().enumerate() {
        let row = (row * filter.stride + down).wrapping_sub(filter.padding);
        *line = (row < from.rows).then(|| input.row(picture * from.rows + row));
    }
    for (nth, pixels) in output.chunks_mut(P * to.channels).enumerate() {
        let first = nth * P * filter.stride * to.channels;
        let mut inputs = [None; K];
        for (input, line) in inputs.iter_mut().zip(lines) {
            *input = line.map(|line| &line[first..][..C * to.channels]);
        }
        tile::<S, K, P, C>(simd, run, &inputs, pixels);
    }
}

/// Computes up to `P` neighbouring pixels from rows of `C` pixels; none is outside the picture.
#[inline(always)]
fn tile<S: Simd, const K: usize, const P: usize, const C: usize>(
    simd: S,
    run: &Convolution<'_>,
    inputs: &[Option<&[f32]>; K],
    pixels: &mut [f32],
) {
    let (channels, lanes) = (run.output_map.channels, S::F32_LANES);
    if channels < lanes {
        return vector::<S, K, P, C, false>(simd, run, inputs, 0, pixels);
    }
    for from in (0..channels - lanes).step_by(lanes) {
        vector::<S, K, P, C, true>(simd, run, inputs, from, pixels);
    }
    vector::<S, K, P, C, true>(simd, run, inputs, channels - lanes, pixels);
}

/// Computes the channels of one vector, from a first one on; it is full, or the only one.
#[inline(always)]
fn vector<S: Simd, const K: usize, const P: usize, const C: usize, const IS_FULL: bool>(
    simd: S,
    run: &Convolution<'_>,
    inputs: &[Option<&[f32]>; K],
    from: usize,
    pixels: &mut [f32],
) {
    let (channels, lanes) = (run.output_map.channels, S::F32_LANES);
    let load = |values: &[f32]| {
        if IS_FULL {
            S::as_simd_f32s(&values[from..from + lanes]).0[0]
        } else {
            simd.partial_load_f32s(&values[..channels])
        }
    };
    let mut sums = [load(run.bias); P];
    let mut weights = run.weight.chunks_exact(channels.next_multiple_of(lanes) * K);
    for (input, weights) in inputs.iter().zip(&mut weights) {
        let Some(input) = input else { continue };
        let mut columns = [simd.splat_f32s(0.0); C];
        for (column, values) in columns.iter_mut().zip(input.chunks_exact(channels)) {
            *column = load(values);
        }
        for (across, weight) in weights.chunks_exact(weights.len() / K).enumerate() {
            let weight = load(weight);
            for (nth, sum) in sums.iter_mut().enumerate() {
                let column = columns[nth * run.filter.stride + across];
                *sum = simd.mul_add_e_f32s(column, weight, *sum);
            }
        }
    }
    for (pixel, sum) in pixels.chunks_exact_mut(channels).zip(sums) {
        let value = run.activation.apply(simd, sum);
        if IS_FULL {
            S::as_mut_simd_f32s(&mut pixel[from..from + lanes]).0[0] = value;
        } else {
            simd.partial_store_f32s(pixel, value);
        }
    }
}
