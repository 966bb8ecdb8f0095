//! A convolution with its bias and activation, the layer that all networks here are made of.

use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};

use crate::kernels::{self, Activation, Filter};
use crate::layers::backend::FeatureMaps;
use crate::layers::composed::{channels_first, channels_last};
use crate::layers::runs_our_kernels;
use crate::weights::{Weights, WeightsError};

/// The description of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// The filter's size, step and border.
    pub filter: Filter,
    /// Whether each channel has a filter of its own.
    pub depthwise: bool,
    /// The function at the end.
    pub activation: Activation,
}

impl Layer {
    /// Returns a layer that keeps rows and columns, or halves them at stride 2.
    pub fn dense(inputs: usize, outputs: usize, size: usize, stride: usize) -> Self {
        let filter = Filter::same(size, stride);
        Self { inputs, outputs, filter, depthwise: false, activation: Activation::Linear }
    }

    /// Returns a layer of single pixels.
    pub fn pointwise(inputs: usize, outputs: usize) -> Self {
        Self::dense(inputs, outputs, 1, 1)
    }

    /// Returns a layer with a filter per channel.
    pub fn depthwise(channels: usize, size: usize, stride: usize) -> Self {
        Self { depthwise: true, ..Self::dense(channels, channels, size, stride) }
    }

    /// Returns the layer with an activation function.
    #[must_use]
    pub fn then(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Returns the layer with TensorFlow's padding "SAME" for an even input: at stride 2, all zeros are after the
    /// last row and column.
    #[must_use]
    pub fn padded_after(mut self) -> Self {
        if self.filter.stride == 2 {
            self.filter.padding -= 1;
        }
        self
    }

    /// Reads the layer's weights.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights lack the layer, or have it in another shape.
    pub fn load(
        self,
        name: &str,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Convolution, WeightsError> {
        let size = self.filter.size;
        let inputs = if self.depthwise { 1 } else { self.inputs };
        let shape = [self.outputs, inputs, size, size];
        let values = weights.layer(name, shape)?;
        Ok(if runs_our_kernels(device) {
            let bias = kernels::pad_to_lanes(&values.bias);
            let (weight, shape) = self.pack(&values.weight);
            self.with(weight, shape, bias, device)
        } else {
            self.with(values.weight, shape, values.bias, device)
        })
    }

    fn pack(self, weight: &[f32]) -> (Vec<f32>, [usize; 4]) {
        let (size, lanes) = (self.filter.size, kernels::lanes());
        if self.depthwise {
            let packed = kernels::pack_depthwise(weight, self.outputs, size);
            (packed, [1, size, size, self.outputs.next_multiple_of(lanes)])
        } else {
            let packed = kernels::pack_dense(weight, self.outputs, self.inputs, size);
            (packed, [self.outputs.div_ceil(lanes), size * size, self.inputs, lanes])
        }
    }

    fn with(
        self,
        weight: Vec<f32>,
        shape: [usize; 4],
        bias: Vec<f32>,
        device: &Device,
    ) -> Convolution {
        let n_biases = bias.len();
        let weight = Tensor::from_data(TensorData::new(weight, shape), device);
        let bias = Tensor::from_data(TensorData::new(bias, [n_biases]), device);
        Convolution {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(bias),
            layer: self,
        }
    }
}

/// A convolution with weights.
#[derive(Module, Debug)]
pub struct Convolution {
    /// `[outputs, inputs, size, size]`, or packed for our kernels.
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    layer: Layer,
}

impl Convolution {
    /// Returns the device of the weights.
    pub fn device(&self) -> Device {
        self.bias.val().device()
    }

    /// Returns `n` convolutions with a part of the output's channels each, which is a multiple of 16.
    pub fn split(self, n: usize) -> Vec<Self> {
        let (weights, biases) = (self.weight.val().chunk(n, 0), self.bias.val().chunk(n, 0));
        let layer = Layer { outputs: self.layer.outputs / n, ..self.layer };
        let parts = weights.into_iter().zip(biases).map(|(weight, bias)| Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(bias),
            layer,
        });
        parts.collect()
    }

    /// # Shapes
    ///
    /// - input: `[batch, rows, columns, inputs]`
    /// - output: `[batch, rows / stride, columns / stride, outputs]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if runs_our_kernels(&input.device()) {
            let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
            let input = input.into_dispatch();
            let output = <Dispatch as FeatureMaps>::convolve(input, weight, bias, self.layer);
            return Tensor::from_dispatch(output);
        }
        self.composed(input, weight, bias)
    }

    /// The same by burn's own operations.
    pub(super) fn composed(
        &self,
        input: Tensor<4>,
        weight: Tensor<4>,
        bias: Tensor<1>,
    ) -> Tensor<4> {
        let Layer { filter, depthwise, inputs, .. } = self.layer;
        let padding = (filter.padding, filter.padding_after);
        let input = channels_first(input).pad((padding.0, padding.1, padding.0, padding.1), 0.0);
        let groups = if depthwise { inputs } else { 1 };
        let options = ConvOptions::new([filter.stride; 2], [0, 0], [1, 1], groups);
        self.activate(channels_last(conv2d(input, weight, Some(bias), options)))
    }

    fn activate(&self, output: Tensor<4>) -> Tensor<4> {
        match self.layer.activation {
            Activation::Linear => output,
            Activation::Relu => activation::relu(output),
            Activation::Relu6 => output.clamp(0.0, 6.0),
            Activation::LeakyRelu => activation::leaky_relu(output, 0.1),
            Activation::Silu => activation::silu(output),
            Activation::Sigmoid => activation::sigmoid(output),
        }
    }
}

#[cfg(test)]
impl Convolution {
    /// Returns weight and bias as they were before they were packed.
    pub(super) fn unpacked(&self) -> (Tensor<4>, Tensor<1>) {
        let Layer { outputs, inputs, filter, depthwise, .. } = self.layer;
        let (weight, bias) = (self.weight.val(), self.bias.val().narrow(0, 0, outputs));
        let size = filter.size;
        if depthwise {
            return (weight.narrow(3, 0, outputs).permute([3, 0, 1, 2]), bias);
        }
        let [panels, _, _, lanes] = weight.dims();
        let weight = weight.permute([0, 3, 2, 1]).reshape([panels * lanes, inputs, size, size]);
        (weight.narrow(0, 0, outputs), bias)
    }
}
