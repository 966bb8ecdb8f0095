//! Convolutions on the CPU: plain slices in and out, vectorised for the processor that is found at run time.
//!
//! burn's own kernels take most of their time in depthwise filters, in activation functions and in the first
//! layers; these do all of a layer at once, including its bias and activation. Feature maps are
//! `[batch, rows, columns, channels]`: with channels last, a vector holds channels of one pixel, so that no size of
//! picture, filter or step is a special case. The result for a picture does not depend on the others of its
//! batch.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for the processor that is found at run time"
)]

mod activation;
mod buffers;
mod chain;
mod convolution;
mod dense;
mod depthwise;
mod maps;
mod rows;
mod shape;

use pulp::{Arch, Simd, WithSimd};

pub use activation::Activation;
pub use buffers::{buffer, recycle};
use chain::Chain;
use convolution::Convolution;
pub use maps::{Corners, add, interleave, join, max_pool, resize};
pub use shape::{Filter, Map, View};

/// A layer with packed weights.
#[derive(Clone, Copy, Debug)]
pub struct PackedLayer<'a> {
    weight: &'a [f32],
    /// `[outputs rounded up to lanes]`.
    bias: &'a [f32],
    filter: Filter,
    activation: Activation,
    outputs: usize,
}

impl<'a> PackedLayer<'a> {
    /// Returns a layer with weights from [`pack_dense`] or [`pack_depthwise`]; `outputs` is the number of its channels.
    pub fn new(packed: &'a [f32], outputs: usize, filter: Filter, activation: Activation) -> Self {
        let n_biases = outputs.next_multiple_of(lanes());
        let (weight, bias) = packed.split_at(packed.len().saturating_sub(n_biases));
        Self { weight, bias, filter, activation, outputs }
    }

    /// Returns the number of channels of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the size of the output.
    pub fn output(&self, input: Map) -> Map {
        self.filter.output(input, self.outputs)
    }

    fn convolution(self, input: View<'a>) -> Convolution<'a> {
        let Self { weight, bias, filter, activation, .. } = self;
        Convolution { input, weight, bias, filter, activation, output_map: self.output(input.map) }
    }
}

/// Returns the number of 32-bit floats in a vector of this processor.
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// Packs the weights and biases of a dense convolution.
///
/// # Shapes
///
/// - weight: `[outputs, inputs, size, size]`
/// - bias: `[outputs]`
/// - result: `[ceil(outputs / lanes), size, size, inputs, lanes]`, and then the biases
pub fn pack_dense(weight: &[f32], bias: &[f32], inputs: usize, size: usize) -> Vec<f32> {
    let (lanes, taps) = (lanes(), size * size * inputs);
    let mut packed = vec![0.0; bias.len().div_ceil(lanes) * taps * lanes];
    for (nth, weight) in weight.iter().enumerate() {
        let (output, input, place) =
            (nth / taps, nth / (size * size) % inputs, nth % (size * size));
        let tap = place * inputs + input;
        packed[(output / lanes * taps + tap) * lanes + output % lanes] = *weight;
    }
    with_bias(packed, bias)
}

/// Packs the weights and biases of a depthwise convolution.
///
/// # Shapes
///
/// - weight: `[channels, 1, size, size]`
/// - bias: `[channels]`
/// - result: `[size, size, channels rounded up to lanes]`, and then the biases
pub fn pack_depthwise(weight: &[f32], bias: &[f32], size: usize) -> Vec<f32> {
    let padded = bias.len().next_multiple_of(lanes());
    let mut packed = vec![0.0; size * size * padded];
    for (nth, weight) in weight.iter().enumerate() {
        let (channel, place) = (nth / (size * size), nth % (size * size));
        packed[place * padded + channel] = *weight;
    }
    with_bias(packed, bias)
}

/// Adds biases, with zeros up to a multiple of the number of [`lanes`].
fn with_bias(mut packed: Vec<f32>, bias: &[f32]) -> Vec<f32> {
    packed.extend_from_slice(bias);
    packed.resize(packed.len().next_multiple_of(lanes()), 0.0);
    packed
}

/// Convolves over all channels.
///
/// # Shapes
///
/// - input: any part of maps for a filter of one pixel, otherwise whole maps
/// - output: `layer.output(input.map)`
pub fn convolve_dense(input: View<'_>, layer: PackedLayer<'_>, output: &mut [f32]) {
    let convolution = layer.convolution(input);
    if layer.filter.padding + layer.filter.padding_after == 0 {
        return dense::convolve(&convolution, output);
    }
    let (bordered, map) = with_border(input, layer.filter);
    let input = View::whole(&bordered, map);
    dense::convolve(&Convolution { input, ..convolution }, output);
    recycle(bordered);
}

/// Convolves with `expand` if there is one, then with `depthwise`, then with `pointwise` if there is one.
///
/// # Shapes
///
/// - output: `depthwise.output(input.map)`, with the channels of the last layer
pub fn convolve_chain(
    input: View<'_>,
    [expand, pointwise]: [Option<PackedLayer<'_>>; 2],
    depthwise: PackedLayer<'_>,
    output: &mut [f32],
) {
    let expand = expand.map(|layer| layer.convolution(input));
    // The maps between the layers have a size, but are never stored.
    let between = |layer: &Convolution<'_>| View::whole(&[], layer.output_map);
    let depthwise = depthwise.convolution(expand.as_ref().map_or(input, between));
    let pointwise = pointwise.map(|layer| layer.convolution(between(&depthwise)));
    Chain { expand, depthwise, pointwise }.run(output);
}

/// Returns whole maps with the filter's border of zeros.
fn with_border(input: View<'_>, filter: Filter) -> (Vec<f32>, Map) {
    let map = input.map;
    let border = filter.padding + filter.padding_after;
    let bordered = Map { rows: map.rows + border, columns: map.columns + border, ..map };
    let row_len = map.columns * map.channels;
    let mut output = buffer(bordered.len());
    let rows = output.chunks_exact_mut(bordered.columns * map.channels);
    for (nth, row) in rows.enumerate() {
        let (picture, row_nth) = (nth / bordered.rows, nth % bordered.rows);
        let from = row_nth.wrapping_sub(filter.padding);
        if from >= map.rows {
            row.fill(0.0);
            continue;
        }
        let (before, rest) = row.split_at_mut(filter.padding * map.channels);
        let (middle, after) = rest.split_at_mut(row_len);
        before.fill(0.0);
        middle.copy_from_slice(&input.values[(picture * map.rows + from) * row_len..][..row_len]);
        after.fill(0.0);
    }
    (output, bordered)
}

#[cfg(test)]
mod tests;
