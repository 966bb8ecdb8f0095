//! A ring of the input rows that a depthwise filter needs next, with zeros on both sides.

use std::ops::Range;

use pulp::Simd;

use super::buffers::{buffer, recycle};
use super::convolution::Convolution;
use super::dense;
use super::depthwise::pixels_at_once;
use super::shape::{Map, View};

/// The ring of rows.
pub(super) struct Rows {
    /// The capacity in rows; row `n` is at place `n % ring`.
    ring: usize,
    /// Number of values of a row with its borders.
    row_len: usize,
    /// Number of zeros before the first pixel.
    border: usize,
    values: Vec<f32>,
    /// The number of rows that were read, counted over all pictures.
    n_done: usize,
}

impl Rows {
    /// Returns a ring for the input of `at_once` rows of a filter's output.
    pub(super) fn new<S: Simd>(filter: &Convolution<'_>, at_once: usize) -> Self {
        let (size, stride) = (filter.filter.size, filter.filter.stride);
        let (ring, channels) = (size + (at_once - 1) * stride, filter.input.map.channels);
        let columns = filter.output_map.columns;
        let n_pixels = columns.next_multiple_of(pixels_at_once::<S>(columns));
        let row_len = ((n_pixels - 1) * stride + size) * channels;
        let border = filter.filter.padding * channels;
        let mut values = buffer(ring * row_len);
        for row in values.chunks_exact_mut(row_len) {
            row[..border].fill(0.0);
            row[border + filter.input.map.columns * channels..].fill(0.0);
        }
        Self { ring, row_len, border, values, n_done: 0 }
    }

    /// Returns a row with its borders.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row % self.ring * self.row_len..][..self.row_len]
    }

    /// Reads the input of some rows of a picture's output: computes them with `layer`, or copies them from the filter's
    /// input.
    #[inline(always)]
    pub(super) fn read<S: Simd>(
        &mut self,
        simd: S,
        filter: &Convolution<'_>,
        layer: Option<&Convolution<'_>>,
        picture: usize,
        rows: Range<usize>,
    ) {
        let (map, shape) = (filter.input.map, filter.filter);
        let first = (rows.start * shape.stride).saturating_sub(shape.padding);
        let last = (rows.end - 1) * shape.stride + shape.size - shape.padding;
        let top = picture * map.rows;
        let needed = self.n_done.max(top + first)..top + last.min(map.rows);
        self.n_done = needed.end;
        for row in needed {
            let place = row % self.ring * self.row_len + self.border;
            let output = &mut self.values[place..][..map.columns * map.channels];
            let source = layer.map_or(filter.input, |layer| layer.input);
            let input = row_of(source, row);
            match layer {
                Some(layer) => {
                    let output_map = Map { channels: map.channels, ..input.map };
                    dense::run(simd, &Convolution { input, output_map, ..*layer }, output);
                }
                None => copy(input, output),
            }
        }
    }

    /// Returns the memory to the pool.
    pub(super) fn recycle(self) {
        recycle(self.values);
    }
}

/// Returns a row; rows are counted over all pictures.
fn row_of(maps: View<'_>, row: usize) -> View<'_> {
    let values = &maps.values[row * maps.map.columns * maps.step..];
    View { values, map: Map { batch: 1, rows: 1, ..maps.map }, step: maps.step }
}

/// Copies a row.
fn copy(from: View<'_>, to: &mut [f32]) {
    let channels = from.map.channels;
    if from.step == channels {
        return to.copy_from_slice(&from.values[..to.len()]);
    }
    for (to, from) in to.chunks_exact_mut(channels).zip(from.values.chunks(from.step)) {
        to.copy_from_slice(&from[..channels]);
    }
}
