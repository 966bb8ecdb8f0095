//! Fused layers: a pointwise layer, a depthwise filter, and a second pointwise layer. Either pointwise layer may be
//! missing.
//!
//! The filter needs a few rows of the first layer, and the last layer a few rows of the filter. The kernel computes
//! these rows just before they are read, so they are in the cache, and the maps between the layers are never stored
//! whole.

use pulp::{Arch, Simd, WithSimd};

use super::buffers::{buffer, recycle};
use super::convolution::Convolution;
use super::rows::Rows;
use super::shape::{Map, View};
use super::{dense, depthwise};

/// The number of values between filter and last layer that fit into the first-level cache.
const MAX_VALUES: usize = 8192;

/// The fused layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'a> {
    /// The pointwise layer whose output the filter reads.
    pub(super) expand: Option<Convolution<'a>>,
    /// The filter; it reads the output of `expand`, or else the input of the chain.
    pub(super) depthwise: Convolution<'a>,
    /// The pointwise layer that reads the output of the filter.
    pub(super) pointwise: Option<Convolution<'a>>,
}

impl Chain<'_> {
    /// Computes the output with the instructions of this processor.
    pub(super) fn run(&self, output: &mut [f32]) {
        Arch::new().dispatch(Dispatch { chain: self, output });
    }
}

struct Dispatch<'a> {
    chain: &'a Chain<'a>,
    output: &'a mut [f32],
}

impl WithSimd for Dispatch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chain { expand, depthwise, pointwise } = self.chain;
        let map = depthwise.output_map;
        let row_len = map.columns * map.channels;
        let at_once = (MAX_VALUES / row_len.max(1)).clamp(1, map.rows.max(1));
        let mut rows = Rows::new::<S>(depthwise, at_once);
        let mut between = buffer(at_once * row_len);
        let channels = pointwise.map_or(map.channels, |layer| layer.output_map.channels);
        let line_len = map.columns * channels;
        for (picture, output) in self.output.chunks_mut(map.rows * line_len).enumerate() {
            for (nth, output) in output.chunks_mut(at_once * line_len).enumerate() {
                let n_rows = output.len() / line_len;
                let first = nth * at_once;
                rows.read(simd, depthwise, expand.as_ref(), picture, first..first + n_rows);
                let first = picture * map.rows + first;
                let Some(layer) = pointwise else {
                    filter(simd, depthwise, &rows, first, output);
                    continue;
                };
                let between = &mut between[..n_rows * row_len];
                filter(simd, depthwise, &rows, first, between);
                let input = View::whole(between, Map { batch: 1, rows: n_rows, ..map });
                let output_map = Map { channels, ..input.map };
                dense::run(simd, &Convolution { input, output_map, ..*layer }, output);
            }
        }
        recycle(between);
        rows.recycle();
    }
}

/// Computes rows of the filter's output from `first` on, as many as fit into `output`.
#[inline(always)]
fn filter<S: Simd>(
    simd: S,
    layer: &Convolution<'_>,
    rows: &Rows,
    first: usize,
    output: &mut [f32],
) {
    let row_len = layer.output_map.columns * layer.output_map.channels;
    for (nth, output) in output.chunks_exact_mut(row_len).enumerate() {
        depthwise::row(simd, layer, rows, first + nth, output);
    }
}
