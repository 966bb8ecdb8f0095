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
mod convolution;
mod dense;
mod depthwise;
mod maps;
mod shape;

use pulp::{Arch, Simd, WithSimd};

pub use activation::Activation;
use convolution::Convolution;
use dense::Dense;
use depthwise::Depthwise;
pub use maps::{Corners, add_enlarged, focus, interleave, join, max_pool, resize};
pub use shape::{Filter, Map};

/// The weights of a convolution, in the order in which the kernels read them.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// From [`pack_dense`] or [`pack_depthwise`].
    pub weight: &'a [f32],
    /// From [`pad_to_lanes`].
    pub bias: &'a [f32],
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

/// Returns `values` with zeros up to a multiple of the number of [`lanes`].
pub fn pad_to_lanes(values: &[f32]) -> Vec<f32> {
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(lanes()), 0.0);
    padded
}

/// Packs the weights of a dense convolution.
///
/// # Shapes
///
/// - weight: `[outputs, inputs, size, size]`
/// - result: `[ceil(outputs / lanes), size, size, inputs, lanes]`
pub fn pack_dense(weight: &[f32], outputs: usize, inputs: usize, size: usize) -> Vec<f32> {
    let (lanes, taps) = (lanes(), size * size * inputs);
    let mut packed = vec![0.0; outputs.div_ceil(lanes) * taps * lanes];
    for (nth, weight) in weight.iter().enumerate() {
        let (output, input, place) =
            (nth / taps, nth / (size * size) % inputs, nth % (size * size));
        let tap = place * inputs + input;
        packed[(output / lanes * taps + tap) * lanes + output % lanes] = *weight;
    }
    packed
}

/// Packs the weights of a depthwise convolution.
///
/// # Shapes
///
/// - weight: `[channels, 1, size, size]`
/// - result: `[size, size, channels rounded up to lanes]`
pub fn pack_depthwise(weight: &[f32], channels: usize, size: usize) -> Vec<f32> {
    let padded = channels.next_multiple_of(lanes());
    let mut packed = vec![0.0; size * size * padded];
    for (nth, weight) in weight.iter().enumerate() {
        let (channel, place) = (nth / (size * size), nth % (size * size));
        packed[place * padded + channel] = *weight;
    }
    packed
}

/// Convolves over all channels.
///
/// # Shapes
///
/// - input: `input_map`
/// - weights: from [`pack_dense`] for as many channels as the maps have
/// - output: `filter.output(input_map, channels)`
pub fn convolve_dense(
    (input, input_map): (&[f32], Map),
    weights: Packed<'_>,
    filter: Filter,
    activation: Activation,
    (output, output_map): (&mut [f32], Map),
) {
    let bordered;
    let (input, input_map) = if filter.padding + filter.padding_after > 0 {
        bordered = with_border(input, input_map, filter);
        (bordered.0.as_slice(), bordered.1)
    } else {
        (input, input_map)
    };
    let Packed { weight, bias } = weights;
    Convolution { input, input_map, weight, bias, filter, activation, output_map }
        .run::<Dense>(output);
}

/// Convolves each channel by itself.
///
/// # Shapes
///
/// - input: `input_map`
/// - weights: from [`pack_depthwise`] for as many channels as both maps have
/// - output: `filter.output(input_map, input_map.channels)`
pub fn convolve_depthwise(
    (input, input_map): (&[f32], Map),
    weights: Packed<'_>,
    filter: Filter,
    activation: Activation,
    (output, output_map): (&mut [f32], Map),
) {
    let Packed { weight, bias } = weights;
    Convolution { input, input_map, weight, bias, filter, activation, output_map }
        .run::<Depthwise>(output);
}

/// Returns the maps with the filter's border of zeros.
fn with_border(input: &[f32], map: Map, filter: Filter) -> (Vec<f32>, Map) {
    let border = filter.padding + filter.padding_after;
    let bordered = Map { rows: map.rows + border, columns: map.columns + border, ..map };
    let row_len = map.columns * map.channels;
    let mut output = Vec::with_capacity(bordered.len());
    for picture in input.chunks_exact(map.rows * row_len) {
        extend_by_zeros(&mut output, filter.padding * bordered.columns * map.channels);
        for row in picture.chunks_exact(row_len) {
            extend_by_zeros(&mut output, filter.padding * map.channels);
            output.extend_from_slice(row);
            extend_by_zeros(&mut output, filter.padding_after * map.channels);
        }
        extend_by_zeros(&mut output, filter.padding_after * bordered.columns * map.channels);
    }
    (output, bordered)
}

fn extend_by_zeros(values: &mut Vec<f32>, n: usize) {
    values.resize(values.len() + n, 0.0);
}

#[cfg(test)]
mod tests;
