//! The operations on feature maps, composed of burn's own for devices without our kernels.

use burn::tensor::Tensor;
use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};

use crate::kernels::{Corners, Filter};

/// `[batch, rows, columns, channels]` to `[batch, channels, rows, columns]`.
pub(super) fn channels_first(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 3, 1, 2])
}

/// `[batch, channels, rows, columns]` to `[batch, rows, columns, channels]`.
pub(super) fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

pub(super) fn max_pool(map: Tensor<4>, filter: Filter) -> Tensor<4> {
    let options = MaxPoolOptions::new([filter.size; 2])
        .with_stride([filter.stride; 2])
        .with_padding_pairs([(filter.padding, filter.padding_after); 2]);
    channels_last(max_pool2d(channels_first(map), options))
}

pub(super) fn interleave(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    let [batch, rows, columns, channels] = second.dims();
    let pairs = vec![first.narrow(3, 0, channels), second];
    Tensor::stack::<5>(pairs, 4).reshape([batch, rows, columns, 2 * channels])
}

pub(super) fn add(large: Tensor<4>, small: Tensor<4>) -> Tensor<4> {
    let factor = large.dims()[1] / small.dims()[1];
    large + if factor == 1 { small } else { enlarge(small, factor) }
}

pub(super) fn join(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    let factor = second.dims()[1] / first.dims()[1];
    Tensor::cat(vec![enlarge(first, factor), second], 3)
}

/// Returns the map with each pixel repeated to a square.
///
/// # Shapes
///
/// - map: `[batch, rows, columns, channels]`
/// - output: `[batch, factor * rows, factor * columns, channels]`
fn enlarge(map: Tensor<4>, factor: usize) -> Tensor<4> {
    let [batch, rows, columns, channels] = map.dims();
    map.reshape([batch, rows, 1, columns, 1, channels])
        .expand([batch, rows, factor, columns, factor, channels])
        .reshape([batch, rows * factor, columns * factor, channels])
}

pub(super) fn resize(map: Tensor<4>, size: [usize; 2], corners: Corners) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
        .with_align_corners(corners == Corners::Aligned)
        .with_output_size(size);
    channels_last(interpolate(channels_first(map), options))
}
