//! Separable convolutions: a depthwise filter and a pointwise layer, which are cheaper than a dense filter.

use burn::backend::{Dispatch, DispatchTensor};
use burn::module::Module;
use burn::tensor::Tensor;

use super::backend::FeatureMaps;
use super::convolution::Convolution;
use super::runs_our_kernels;

/// A depthwise filter of 3x3, and a pointwise layer over its output.
#[derive(Module, Debug)]
pub struct Separable {
    /// The filter.
    pub depthwise: Convolution,
    /// The layer over the filter's output.
    pub pointwise: Convolution,
}

impl Separable {
    /// # Shapes
    ///
    /// - map: `[batch, rows, columns, inputs]`
    /// - output: `[batch, rows / stride, columns / stride, outputs]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        if !runs_our_kernels(&map.device()) {
            return self.pointwise.forward(self.depthwise.forward(map));
        }
        let (map, [depthwise, pointwise]) = (map.into_dispatch(), self.packed());
        Tensor::from_dispatch(<Dispatch as FeatureMaps>::convolve_twice(
            map,
            depthwise,
            pointwise,
            [self.depthwise.layer(), self.pointwise.layer()],
        ))
    }

    /// Applies a pointwise layer first.
    ///
    /// # Shapes
    ///
    /// - map: `[batch, rows, columns, inputs of the first layer]`
    /// - output: `[batch, rows / stride, columns / stride, outputs]`
    pub fn forward_after(&self, first: &Convolution, map: Tensor<4>) -> Tensor<4> {
        if !runs_our_kernels(&map.device()) {
            return self.forward(first.forward(map));
        }
        let (map, [depthwise, pointwise]) = (map.into_dispatch(), self.packed());
        Tensor::from_dispatch(<Dispatch as FeatureMaps>::convolve_thrice(
            map,
            first.packed(),
            depthwise,
            pointwise,
            [first.layer(), self.depthwise.layer(), self.pointwise.layer()],
        ))
    }

    fn packed(&self) -> [DispatchTensor; 2] {
        [self.depthwise.packed(), self.pointwise.packed()]
    }
}
