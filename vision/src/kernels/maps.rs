//! Operations on feature maps that move or compare values.

use super::shape::{Filter, Map};

/// Writes the highest value under the filter; borders do not count.
///
/// # Shapes
///
/// - input: `input_map`
/// - output: `filter.output(input_map, input_map.channels)`
pub fn max_pool((input, from): (&[f32], Map), filter: Filter, (output, to): (&mut [f32], Map)) {
    let channels = from.channels;
    for (nth, pixel) in output.chunks_exact_mut(channels).enumerate() {
        pixel.fill(f32::NEG_INFINITY);
        let (column, row) = (nth % to.columns, nth / to.columns % to.rows);
        let picture = nth / to.columns / to.rows;
        let rows = under(filter, row, from.rows);
        let columns = under(filter, column, from.columns);
        for row in rows {
            let first = (picture * from.rows + row) * from.columns;
            let run = (first + columns.start) * channels..(first + columns.end) * channels;
            for other in input[run].chunks_exact(channels) {
                for (highest, value) in pixel.iter_mut().zip(other) {
                    *highest = highest.max(*value);
                }
            }
        }
    }
}

/// Returns the rows or columns of the input that are under the filter.
fn under(filter: Filter, nth: usize, n: usize) -> std::ops::Range<usize> {
    let first = nth * filter.stride;
    first.saturating_sub(filter.padding)
        ..(first + filter.size).saturating_sub(filter.padding).min(n)
}

/// Writes the first channels of `first` and the channels of `second`, in turn.
///
/// # Shapes
///
/// - first: `[pixels, n]`, with at least as many channels as `second`
/// - second: `[pixels, channels]`
/// - output: `[pixels, 2 * channels]`
pub fn interleave(first: (&[f32], usize), second: (&[f32], usize), output: &mut [f32]) {
    let pixels = first.0.chunks_exact(first.1).zip(second.0.chunks_exact(second.1));
    for (to, (first, second)) in output.chunks_exact_mut(2 * second.1).zip(pixels) {
        for (to, (first, second)) in to.chunks_exact_mut(2).zip(first.iter().zip(second)) {
            to[0] = *first;
            to[1] = *second;
        }
    }
}

/// Writes the channels of both maps for each pixel; those of a smaller first map for each pixel of a square.
///
/// # Shapes
///
/// - first: `[batch, rows, columns, channels]`
/// - second: `[batch, factor * rows, factor * columns, more]`
/// - output: as second, with `channels + more` channels
pub fn join((first, from): (&[f32], Map), (second, to): (&[f32], Map), output: &mut [f32]) {
    let (factor, channels) = (to.rows / from.rows, from.channels + to.channels);
    let row_len = from.columns * from.channels;
    let rows = output.chunks_exact_mut(to.columns * channels);
    let seconds = second.chunks_exact(to.columns * to.channels);
    for (nth, (row, second)) in rows.zip(seconds).enumerate() {
        let first = &first[nth / factor * row_len..][..row_len];
        let pixels = row.chunks_exact_mut(channels).zip(second.chunks_exact(to.channels));
        for (column, (pixel, second)) in pixels.enumerate() {
            let (left, right) = pixel.split_at_mut(from.channels);
            left.copy_from_slice(&first[column / factor * from.channels..][..from.channels]);
            right.copy_from_slice(second);
        }
    }
}

/// Adds each pixel of `small` to a square of pixels of `large`, or to one pixel if they are of the same size.
///
/// # Shapes
///
/// - small: `[batch, rows, columns, channels]`
/// - large: `[batch, factor * rows, factor * columns, channels]`
///
/// # Panics
///
/// If the maps have other shapes.
pub fn add((small, from): (&[f32], Map), (large, to): (&mut [f32], Map)) {
    let (factor, row_len) = (to.rows / from.rows.max(1), from.columns * from.channels);
    let enlarged = Map { rows: factor * from.rows, columns: factor * from.columns, ..from };
    assert_eq!(enlarged, to, "maps of {from:?} and {to:?} have no sum");
    if factor == 1 {
        return large.iter_mut().zip(small).for_each(|(value, small)| *value += small);
    }
    for (nth, row) in large.chunks_exact_mut(to.columns * to.channels).enumerate() {
        let small = &small[nth / factor * row_len..][..row_len];
        let squares = row.chunks_exact_mut(factor * from.channels);
        for (square, small) in squares.zip(small.chunks_exact(from.channels)) {
            for pixel in square.chunks_exact_mut(from.channels) {
                for (value, small) in pixel.iter_mut().zip(small) {
                    *value += small;
                }
            }
        }
    }
}

/// Where the first and last pixel of a resized map lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corners {
    /// On the centres of the first and last pixel.
    Aligned,
    /// So that the borders of both maps agree.
    HalfPixel,
}

/// Writes the map in another size, interpolated between the nearest two rows and columns.
///
/// # Shapes
///
/// - input: `[batch, _, _, channels]`
/// - output: `[batch, rows, columns, channels]`
pub fn resize((input, from): (&[f32], Map), corners: Corners, (output, to): (&mut [f32], Map)) {
    let rows = samples(from.rows, to.rows, corners);
    let columns = samples(from.columns, to.columns, corners);
    let channels = from.channels;
    let pixel =
        |row: usize, column: usize| &input[(row * from.columns + column) * channels..][..channels];
    for (nth, line) in output.chunks_exact_mut(to.columns * channels).enumerate() {
        let (picture, row) = (nth / to.rows * from.rows, rows[nth % to.rows]);
        let (above, below) = (picture + row.before, picture + row.after);
        for (to, column) in line.chunks_exact_mut(channels).zip(&columns) {
            let [top_left, top_right] = [column.before, column.after].map(|at| pixel(above, at));
            let [low_left, low_right] = [column.before, column.after].map(|at| pixel(below, at));
            for (nth, value) in to.iter_mut().enumerate() {
                let top = top_left[nth] + (top_right[nth] - top_left[nth]) * column.share;
                let low = low_left[nth] + (low_right[nth] - low_left[nth]) * column.share;
                *value = top + (low - top) * row.share;
            }
        }
    }
}

/// Where a row or column of the output lies between two of the input.
#[derive(Clone, Copy, Debug)]
struct Sample {
    before: usize,
    after: usize,
    /// The share of the later one.
    share: f32,
}

fn samples(from: usize, to: usize, corners: Corners) -> Vec<Sample> {
    let last = from.saturating_sub(1);
    let place = |nth: usize| match corners {
        Corners::Aligned => nth as f32 * last as f32 / to.saturating_sub(1).max(1) as f32,
        Corners::HalfPixel => ((nth as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0),
    };
    let sample = |nth| {
        let place = place(nth).min(last as f32);
        let before = place as usize;
        Sample { before, after: (before + 1).min(last), share: place - before as f32 }
    };
    (0..to).map(sample).collect()
}
