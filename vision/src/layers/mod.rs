//! The layers of the networks: burn modules and functions over feature maps.
//!
//! A feature map is a tensor `[batch, rows, columns, channels]`. On the CPU, the work is done by
//! [`crate::kernels`]; on other devices, by burn's own operations.

mod backend;
mod composed;
mod convolution;
mod doubling;
mod pooled;
mod separable;
#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};

use backend::FeatureMaps;
pub use convolution::{Convolution, Layer};
pub use doubling::{Doubling, phases, shuffle_pixels};
use pooled::pooled;
pub use separable::Separable;

use crate::kernels::{Corners, Filter};

/// Returns whether tensors of the device are computed by our kernels.
fn runs_our_kernels(device: &Device) -> bool {
    *device == Device::flex()
}

/// Returns a tensor with values from [`crate::kernels::buffer`], whose memory returns to the pool on the CPU.
///
/// # Shapes
///
/// - values: as many as `shape` has
pub fn tensor(values: Vec<f32>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let data = if runs_our_kernels(device) {
        TensorData::from_bytes(pooled(values), shape, DType::F32)
    } else {
        TensorData::new(values, shape)
    };
    Tensor::from_data(data, device)
}

/// Returns the values of a tensor.
pub fn values(map: Tensor<4>) -> Vec<f32> {
    let values = map.into_data().try_into_vec();
    values.unwrap_or_else(|error| unreachable!("values of another type: {error}"))
}

/// Returns the highest value under the filter; borders do not count.
///
/// # Shapes
///
/// - map: `[batch, rows, columns, channels]`
/// - output: `[batch, rows / stride, columns / stride, channels]`
pub fn max_pool(map: Tensor<4>, filter: Filter) -> Tensor<4> {
    if !runs_our_kernels(&map.device()) {
        return composed::max_pool(map, filter);
    }
    Tensor::from_dispatch(<Dispatch as FeatureMaps>::max_pool(map.into_dispatch(), filter))
}

/// Returns the first channels of `first` and all channels of `second`, in turn: the channel shuffle of ShuffleNet
/// for two groups, after a concatenation.
///
/// # Shapes
///
/// - first: `[batch, rows, columns, n]`, with at least as many channels as `second`
/// - second: `[batch, rows, columns, channels]`
/// - output: `[batch, rows, columns, 2 * channels]`
pub fn interleave(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    if !runs_our_kernels(&first.device()) {
        return composed::interleave(first, second);
    }
    let (first, second) = (first.into_dispatch(), second.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FeatureMaps>::interleave(first, second))
}

/// Returns the channels of both maps; those of a smaller first map for each pixel of a square.
///
/// # Shapes
///
/// - first: `[batch, rows, columns, channels]`
/// - second: `[batch, factor * rows, factor * columns, more]`
/// - output: `[batch, factor * rows, factor * columns, channels + more]`
pub fn join(first: Tensor<4>, second: Tensor<4>) -> Tensor<4> {
    if !runs_our_kernels(&first.device()) {
        return composed::join(first, second);
    }
    let (first, second) = (first.into_dispatch(), second.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FeatureMaps>::join(first, second))
}

/// Returns the sum of maps; the pixels of a smaller second map are repeated.
///
/// # Shapes
///
/// - large, output: `[batch, factor * rows, factor * columns, channels]`
/// - small: `[batch, rows, columns, channels]`
pub fn add(large: Tensor<4>, small: Tensor<4>) -> Tensor<4> {
    if !runs_our_kernels(&large.device()) {
        return composed::add(large, small);
    }
    let (large, small) = (large.into_dispatch(), small.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FeatureMaps>::add(large, small))
}

/// Returns the map in another size, interpolated between pixels.
///
/// # Shapes
///
/// - map: `[batch, _, _, channels]`
/// - output: `[batch, rows, columns, channels]`
pub fn resize(map: Tensor<4>, size: [usize; 2], corners: Corners) -> Tensor<4> {
    if !runs_our_kernels(&map.device()) {
        return composed::resize(map, size, corners);
    }
    Tensor::from_dispatch(<Dispatch as FeatureMaps>::resize(map.into_dispatch(), size, corners))
}
