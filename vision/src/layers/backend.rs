//! Our kernels as operations of burn's CPU backend.
//!
//! On any other backend, the layers are composed of burn's own operations.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DType, Flex, backend_extension};
use burn::tensor::Shape;

use crate::kernels::{self, Corners, Filter, Map, PackedLayer, View};
use crate::layers::convolution::Layer;
use crate::layers::pooled::pooled;

/// Operations on feature maps, `[batch, rows, columns, channels]`.
#[backend_extension(Flex)]
pub(super) trait FeatureMaps: Backend {
    /// Convolves with a layer; the weights are packed.
    fn convolve(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Convolves with a depthwise filter and a pointwise layer.
    fn convolve_twice(
        input: FloatTensor<Self>,
        depthwise: FloatTensor<Self>,
        pointwise: FloatTensor<Self>,
        layers: [Layer; 2],
    ) -> FloatTensor<Self>;

    /// Convolves with a pointwise layer, a depthwise filter, and another pointwise layer.
    fn convolve_thrice(
        input: FloatTensor<Self>,
        expand: FloatTensor<Self>,
        depthwise: FloatTensor<Self>,
        pointwise: FloatTensor<Self>,
        layers: [Layer; 3],
    ) -> FloatTensor<Self>;

    /// Returns the highest value under the filter.
    fn max_pool(input: FloatTensor<Self>, filter: Filter) -> FloatTensor<Self>;

    /// Returns the first half of the channels of `first` and all of `second`, in turn.
    fn interleave(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Joins the channels of both; those of a smaller first map are repeated.
    fn join(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Adds each pixel of `small` to a square of pixels of `large`, or to one pixel if they are of the same size.
    fn add(large: FloatTensor<Self>, small: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Interpolates between pixels.
    fn resize(input: FloatTensor<Self>, size: [usize; 2], corners: Corners) -> FloatTensor<Self>;
}

impl FeatureMaps for Flex {
    fn convolve(input: FlexTensor, weights: FlexTensor, layer: Layer) -> FlexTensor {
        let packed = packed(&weights, layer);
        if layer.depthwise {
            return convolve_chain(input, [None, None], packed);
        }
        let input = if layer.filter.size == 1 { Maps::part(input) } else { Maps::whole(input) };
        let map = packed.output(input.map);
        let mut output = kernels::buffer(map.len());
        kernels::convolve_dense(input.view(), packed, &mut output);
        tensor(output, map)
    }

    fn convolve_twice(
        input: FlexTensor,
        depthwise: FlexTensor,
        pointwise: FlexTensor,
        layers: [Layer; 2],
    ) -> FlexTensor {
        let pointwise = packed(&pointwise, layers[1]);
        convolve_chain(input, [None, Some(pointwise)], packed(&depthwise, layers[0]))
    }

    fn convolve_thrice(
        input: FlexTensor,
        expand: FlexTensor,
        depthwise: FlexTensor,
        pointwise: FlexTensor,
        layers: [Layer; 3],
    ) -> FlexTensor {
        let around = [packed(&expand, layers[0]), packed(&pointwise, layers[2])];
        convolve_chain(input, around.map(Some), packed(&depthwise, layers[1]))
    }

    fn max_pool(input: FlexTensor, filter: Filter) -> FlexTensor {
        let input = Maps::whole(input);
        let map = filter.output(input.map, input.map.channels);
        let mut output = kernels::buffer(map.len());
        kernels::max_pool((input.values(), input.map), filter, (&mut output, map));
        tensor(output, map)
    }

    fn interleave(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        let (first, second) = (Maps::whole(first), Maps::whole(second));
        let map = Map { channels: 2 * second.map.channels, ..second.map };
        let mut output = kernels::buffer(map.len());
        let (one, other) = ((first.values(), first.map), (second.values(), second.map));
        kernels::interleave((one.0, one.1.channels), (other.0, other.1.channels), &mut output);
        tensor(output, map)
    }

    fn join(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        let (first, second) = (Maps::whole(first), Maps::whole(second));
        let map = Map { channels: first.map.channels + second.map.channels, ..second.map };
        let mut output = kernels::buffer(map.len());
        let (one, other) = ((first.values(), first.map), (second.values(), second.map));
        kernels::join(one, other, &mut output);
        tensor(output, map)
    }

    fn add(large: FlexTensor, small: FlexTensor) -> FlexTensor {
        let (map, small) = (map_of(&large), Maps::whole(small));
        let is_all = large.is_contiguous() && large.storage::<f32>().len() == map.len();
        let mut large = if is_all { large } else { large.to_contiguous() };
        kernels::add((small.values(), small.map), (large.storage_mut(), map));
        large
    }

    fn resize(input: FlexTensor, [rows, columns]: [usize; 2], corners: Corners) -> FlexTensor {
        let input = Maps::whole(input);
        let map = Map { rows, columns, ..input.map };
        let mut output = kernels::buffer(map.len());
        kernels::resize((input.values(), input.map), corners, (&mut output, map));
        tensor(output, map)
    }
}

/// A tensor of feature maps, or of some of their channels.
struct Maps {
    tensor: FlexTensor,
    map: Map,
    /// Number of values from one pixel to the next.
    step: usize,
}

impl Maps {
    /// Returns the tensor with contiguous values.
    fn whole(tensor: FlexTensor) -> Self {
        let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        let map = map_of(&tensor);
        Self { tensor, map, step: map.channels }
    }

    /// Returns the tensor without a copy, if its pixels are equally far apart.
    fn part(tensor: FlexTensor) -> Self {
        let map = map_of(&tensor);
        let layout = tensor.layout();
        let step = layout.strides()[2].unsigned_abs();
        let lengths = [map.rows * map.columns * step, map.columns * step, step, 1];
        let mut dimensions = lengths.into_iter().zip(layout.strides()).zip(layout.shape().iter());
        let is_even = dimensions.all(|((length, stride), side)| {
            *side == 1 || usize::try_from(*stride).is_ok_and(|stride| stride == length)
        });
        if is_even && step >= map.channels {
            Self { tensor, map, step }
        } else {
            Self::whole(tensor)
        }
    }

    fn values(&self) -> &[f32] {
        &self.tensor.storage()[self.tensor.layout().start_offset()..]
    }

    fn view(&self) -> View<'_> {
        View { values: self.values(), map: self.map, step: self.step }
    }
}

fn convolve_chain(
    input: FlexTensor,
    around: [Option<PackedLayer<'_>>; 2],
    depthwise: PackedLayer<'_>,
) -> FlexTensor {
    let input = Maps::part(input);
    let channels = around[1].unwrap_or(depthwise).outputs();
    let map = Map { channels, ..depthwise.output(input.map) };
    let mut output = kernels::buffer(map.len());
    kernels::convolve_chain(input.view(), around, depthwise, &mut output);
    tensor(output, map)
}

/// Returns a layer for the kernels.
fn packed(weights: &FlexTensor, layer: Layer) -> PackedLayer<'_> {
    let values = weights.as_slice().unwrap_or_default();
    PackedLayer::new(values, layer.outputs, layer.filter, layer.activation)
}

fn map_of(tensor: &FlexTensor) -> Map {
    let [batch, rows, columns, channels] = tensor.layout().shape().dims();
    Map { batch, rows, columns, channels }
}

fn tensor(values: Vec<f32>, map: Map) -> FlexTensor {
    let shape = Shape::new([map.batch, map.rows, map.columns, map.channels]);
    FlexTensor::new(pooled(values), Layout::contiguous(shape), DType::F32)
}
