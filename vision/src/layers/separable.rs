//! A depthwise filter and a pointwise layer: a convolution in two cheap steps.

use burn::module::Module;
use burn::tensor::Tensor;

use super::convolution::Convolution;

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
        self.pointwise.forward(self.depthwise.forward(map))
    }
}
