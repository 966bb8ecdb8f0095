//! Our kernels as operations of burn's CPU backend.
//!
//! On any other backend, the layers are composed of burn's own operations.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DType, Flex, backend_extension};
use burn::tensor::{Bytes, Shape};

use crate::kernels::{self, Corners, Filter, Map, Packed};
use crate::layers::convolution::Layer;

/// Operations on feature maps, `[batch, rows, columns, channels]`.
#[backend_extension(Flex)]
pub(super) trait FeatureMaps: Backend {
    /// Convolves with packed weights.
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Returns the highest value under the filter.
    fn max_pool(input: FloatTensor<Self>, filter: Filter) -> FloatTensor<Self>;

    /// Returns the first half of the channels of `first` and all of `second`, in turn.
    fn interleave(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Puts each square of four pixels into the channels of one.
    fn focus(input: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Joins the channels of both; those of a smaller first map are repeated.
    fn join(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Adds each pixel of `small` to a square of pixels of `large`.
    fn add_enlarged(large: FloatTensor<Self>, small: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Interpolates between pixels.
    fn resize(input: FloatTensor<Self>, size: [usize; 2], corners: Corners) -> FloatTensor<Self>;
}

impl FeatureMaps for Flex {
    fn convolve(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        layer: Layer,
    ) -> FlexTensor {
        let input = Contiguous::of(&input);
        let map = layer.filter.output(input.map, layer.outputs);
        let mut output = vec![0.0; map.len()];
        // They may be parts of larger ones, but are always contiguous.
        let weights = Packed {
            weight: weight.as_slice().unwrap_or_default(),
            bias: bias.as_slice().unwrap_or_default(),
        };
        let convolve =
            if layer.depthwise { kernels::convolve_depthwise } else { kernels::convolve_dense };
        let to = (output.as_mut_slice(), map);
        convolve((input.values(), input.map), weights, layer.filter, layer.activation, to);
        tensor(output, map)
    }

    fn max_pool(input: FlexTensor, filter: Filter) -> FlexTensor {
        let input = Contiguous::of(&input);
        let map = filter.output(input.map, input.map.channels);
        let mut output = vec![f32::NEG_INFINITY; map.len()];
        kernels::max_pool((input.values(), input.map), filter, (&mut output, map));
        tensor(output, map)
    }

    fn interleave(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        let (first, second) = (Contiguous::of(&first), Contiguous::of(&second));
        let map = Map { channels: 2 * second.map.channels, ..second.map };
        let mut output = vec![0.0; map.len()];
        let first = (first.values(), first.map.channels);
        kernels::interleave(first, (second.values(), second.map.channels), &mut output);
        tensor(output, map)
    }

    fn focus(input: FlexTensor) -> FlexTensor {
        let input = Contiguous::of(&input);
        let Map { batch, rows, columns, channels } = input.map;
        let map = Map { batch, rows: rows / 2, columns: columns / 2, channels: 4 * channels };
        tensor(kernels::focus(input.values(), input.map), map)
    }

    fn join(first: FlexTensor, second: FlexTensor) -> FlexTensor {
        let (first, second) = (Contiguous::of(&first), Contiguous::of(&second));
        let map = Map { channels: first.map.channels + second.map.channels, ..second.map };
        let mut output = vec![0.0; map.len()];
        let (one, other) = ((first.values(), first.map), (second.values(), second.map));
        kernels::join(one, other, &mut output);
        tensor(output, map)
    }

    fn add_enlarged(large: FlexTensor, small: FlexTensor) -> FlexTensor {
        let mut large = if large.is_contiguous() { large } else { large.to_contiguous() };
        let (map, small) = (map_of(&large), Contiguous::of(&small));
        kernels::add_enlarged((small.values(), small.map), (large.storage_mut(), map));
        large
    }

    fn resize(input: FlexTensor, [rows, columns]: [usize; 2], corners: Corners) -> FlexTensor {
        let input = Contiguous::of(&input);
        let map = Map { rows, columns, ..input.map };
        let mut output = vec![0.0; map.len()];
        kernels::resize((input.values(), input.map), corners, (&mut output, map));
        tensor(output, map)
    }
}

/// A tensor whose values are one slice.
struct Contiguous {
    tensor: FlexTensor,
    map: Map,
}

impl Contiguous {
    fn of(tensor: &FlexTensor) -> Self {
        let tensor = if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() };
        let map = map_of(&tensor);
        Self { tensor, map }
    }

    fn values(&self) -> &[f32] {
        self.tensor.as_slice().unwrap_or_default()
    }
}

fn map_of(tensor: &FlexTensor) -> Map {
    let [batch, rows, columns, channels] = tensor.layout().shape().dims();
    Map { batch, rows, columns, channels }
}

fn tensor(values: Vec<f32>, map: Map) -> FlexTensor {
    let shape = Shape::new([map.batch, map.rows, map.columns, map.channels]);
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}
