//! A convolution with its bias and activation, the layer that all networks here are made of.

use burn::backend::{Dispatch, DispatchTensor};
use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};

use crate::kernels::{self, Activation, Filter};
use crate::layers::backend::FeatureMaps;
use crate::layers::composed::{channels_first, channels_last};
use crate::layers::runs_our_kernels;
use crate::weights::{LayerWeights, Weights, WeightsError};

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

    /// Returns a layer with a filter of 3x3 per channel.
    pub fn depthwise(channels: usize, stride: usize) -> Self {
        Self { depthwise: true, ..Self::dense(channels, channels, 3, stride) }
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
        Ok(self.with(weights.layer(name, self.shape())?, device))
    }

    /// Reads the weights of `n` layers of this description, stored one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_some(
        self,
        name: &str,
        n: usize,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Vec<Convolution>, WeightsError> {
        let [outputs, inputs, rows, columns] = self.shape();
        let LayerWeights { weight, bias } =
            weights.layer(name, [n * outputs, inputs, rows, columns])?;
        let parts = weight.chunks(outputs * inputs * rows * columns).zip(bias.chunks(outputs));
        let part = |(weight, bias): (&[f32], &[f32])| {
            self.with(LayerWeights { weight: weight.to_vec(), bias: bias.to_vec() }, device)
        };
        Ok(parts.map(part).collect())
    }

    /// Returns the shape of the weights.
    fn shape(self) -> [usize; 4] {
        let inputs = if self.depthwise { 1 } else { self.inputs };
        [self.outputs, inputs, self.filter.size, self.filter.size]
    }

    /// Returns the layer with weights.
    pub(crate) fn with(self, values: LayerWeights, device: &Device) -> Convolution {
        if !runs_our_kernels(device) {
            return self.unpacked(values, device);
        }
        let packed = self.pack(&values.weight, &values.bias);
        let shape = [1, 1, 1, packed.len()];
        self.with_tensors(TensorData::new(packed, shape), Vec::new(), device)
    }

    /// Returns the layer with unpacked weights, for burn's own operations.
    pub(super) fn unpacked(self, values: LayerWeights, device: &Device) -> Convolution {
        let weight = TensorData::new(values.weight, self.shape());
        self.with_tensors(weight, values.bias, device)
    }

    fn with_tensors(self, weight: TensorData, bias: Vec<f32>, device: &Device) -> Convolution {
        let n_biases = bias.len();
        let bias = TensorData::new(bias, [n_biases]);
        Convolution {
            weight: Param::from_tensor(Tensor::from_data(weight, device)),
            bias: Param::from_tensor(Tensor::from_data(bias, device)),
            layer: self,
        }
    }

    fn pack(self, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        if self.depthwise {
            kernels::pack_depthwise(weight, bias, self.filter.size)
        } else {
            kernels::pack_dense(weight, bias, self.inputs, self.filter.size)
        }
    }
}

/// A convolution with weights.
#[derive(Module, Debug)]
pub struct Convolution {
    /// `[outputs, inputs, size, size]`, or weights and biases packed for our kernels.
    weight: Param<Tensor<4>>,
    /// `[outputs]`, or empty.
    bias: Param<Tensor<1>>,
    #[module(skip)]
    layer: Layer,
}

impl Convolution {
    /// Returns the device of the weights.
    pub fn device(&self) -> Device {
        self.weight.val().device()
    }

    /// # Shapes
    ///
    /// - input: `[batch, rows, columns, inputs]`
    /// - output: `[batch, rows / stride, columns / stride, outputs]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if !runs_our_kernels(&input.device()) {
            return self.composed(input);
        }
        let (input, weights) = (input.into_dispatch(), self.packed());
        Tensor::from_dispatch(<Dispatch as FeatureMaps>::convolve(input, weights, self.layer))
    }

    /// Returns the packed weights.
    pub(super) fn packed(&self) -> DispatchTensor {
        self.weight.val().into_dispatch()
    }

    /// Returns the description.
    pub(super) fn layer(&self) -> Layer {
        self.layer
    }

    /// Computes [`Self::forward`] by burn's own operations, from unpacked weights.
    pub(super) fn composed(&self, input: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
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
