//! Our kernels against burn's own operations.

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Distribution, TensorData};

use super::*;
use crate::kernels::Activation;
use crate::weights::{LayerReader, LayerWeights, Weights, WeightsError};

/// Weights for any layer.
#[derive(Debug)]
struct Random;

impl Weights for Random {
    fn layer(&mut self, _: &str, shape: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        let random = |shape: [usize; 4]| values(random(shape));
        Ok(LayerWeights { weight: random(shape), bias: random([1, 1, 1, shape[0]]) })
    }
}

fn random(shape: [usize; 4]) -> Tensor<4> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

fn assert_close(actual: Tensor<4>, expected: Tensor<4>) {
    assert_eq!(actual.dims(), expected.dims());
    for (actual, expected) in values(actual).into_iter().zip(values(expected)) {
        assert!((actual - expected).abs() < 1e-4 * expected.abs().max(1.0), "{actual} {expected}");
    }
}

#[test]
fn convolutions_equal_those_of_burn() {
    let layers = [
        Layer::pointwise(20, 33).then(Activation::Relu6),
        Layer::dense(5, 16, 3, 2).padded_after().then(Activation::LeakyRelu),
        Layer::dense(7, 40, 3, 1).then(Activation::Silu),
        Layer::depthwise(24, 2).then(Activation::Relu),
        Layer::depthwise(20, 1).then(Activation::Sigmoid),
        Layer::depthwise(12, 2).padded_after(),
    ];
    for layer in layers {
        let mut given = Given::random(layer);
        let packed = layer.load("any", &mut given, &Device::flex()).unwrap();
        let unpacked = layer.unpacked(given.0, &Device::flex());
        let input = random([2, 10, 6, layer.inputs]);
        assert_close(packed.forward(input.clone()), unpacked.composed(input));
    }
}

#[test]
fn operations_equal_those_of_burn() {
    let (large, small) = (random([2, 8, 12, 20]), random([2, 4, 6, 20]));
    for filter in [Filter::same(3, 2), Filter::same(5, 1), Filter::same(13, 1)] {
        assert_close(max_pool(large.clone(), filter), composed::max_pool(large.clone(), filter));
    }
    let half = random([2, 8, 12, 10]);
    assert_close(
        interleave(large.clone(), half.clone()),
        composed::interleave(large.clone(), half),
    );
    assert_close(join(small.clone(), large.clone()), composed::join(small.clone(), large.clone()));
    let pair = join(large.clone(), large.clone());
    assert_close(pair, composed::join(large.clone(), large.clone()));
    for small in [&small, &large] {
        let expected = composed::add(large.clone(), small.clone());
        assert_close(add(large.clone(), small.clone()), expected);
    }
    for corners in [Corners::Aligned, Corners::HalfPixel] {
        for size in [[8, 12], [3, 5], [4, 6], [1, 1], [9, 17]] {
            let expected = composed::resize(small.clone(), size, corners);
            assert_close(resize(small.clone(), size, corners), expected);
        }
    }
}

#[test]
fn parts_of_a_tensor_are_read_where_they_are() {
    let map = random([2, 4, 4, 12]);
    let parts = [
        map.clone().narrow(3, 4, 8),
        map.clone().narrow(1, 1, 2).narrow(3, 0, 8),
        map.clone().narrow(2, 1, 2).narrow(3, 2, 8),
        map.narrow(0, 1, 1).narrow(3, 4, 8),
    ];
    let layers = [Layer::pointwise(8, 4), Layer::depthwise(8, 1), Layer::dense(8, 4, 3, 2)];
    for layer in layers {
        let layer = layer.load("any", &mut Random, &Device::flex()).unwrap();
        for part in &parts {
            let copied = Tensor::from_data(part.to_data(), &Device::flex());
            assert_close(layer.forward(part.clone()), layer.forward(copied));
        }
    }
}

#[test]
fn a_doubling_layer_is_a_transposed_convolution() {
    let (inputs, outputs) = (5, 16);
    let weight = random([inputs, outputs, 4, 4]);
    let weights = phases(&values(weight.clone()), [inputs, outputs]);
    let mut given = Given(LayerWeights { weight: weights, bias: vec![0.0; 4 * outputs] });
    let device = Device::flex();
    let from = &mut LayerReader::new(&mut given, &device);
    let layer = Doubling::load(from, "any", [inputs, outputs], Activation::Linear).unwrap();
    let map = random([2, 4, 6, inputs]);
    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
    let expected = conv_transpose2d(composed::channels_first(map.clone()), weight, None, options);
    assert_close(layer.forward(map), composed::channels_last(expected));
}

#[test]
fn channels_become_pixels() {
    let numbers: Vec<f32> = (0..16_u8).map(f32::from).collect();
    let map = Tensor::from_data(TensorData::new(numbers, [1, 1, 2, 8]), &Device::flex());
    let shuffled = shuffle_pixels(map);
    assert_eq!(shuffled.dims(), [1, 2, 4, 2]);
    let first_channel = values(shuffled.narrow(3, 0, 1));
    assert_eq!(first_channel, [0.0, 1.0, 8.0, 9.0, 2.0, 3.0, 10.0, 11.0]);
}

/// The same weights for each layer.
#[derive(Debug)]
struct Given(LayerWeights);

impl Given {
    fn random(layer: Layer) -> Self {
        let inputs = if layer.depthwise { 1 } else { layer.inputs };
        let shape = [layer.outputs, inputs, layer.filter.size, layer.filter.size];
        Self(Random.layer("any", shape).unwrap())
    }
}

impl Weights for Given {
    fn layer(&mut self, _: &str, _: [usize; 4]) -> Result<LayerWeights, WeightsError> {
        Ok(self.0.clone())
    }
}
