//! Layers that double rows and columns.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::kernels::{Activation, Filter};
use crate::layers::{Convolution, Layer};
use crate::weights::{LayerReader, WeightsError};

/// A transposed convolution with a filter of 4x4, a step of 2 and a border of 1.
///
/// Each pixel of the output depends on 2x2 pixels of the input, by one of four filters that its row and column choose.
#[derive(Module, Debug)]
pub struct Doubling {
    /// Those of even rows and columns first.
    phases: Vec<Convolution>,
}

impl Doubling {
    /// Reads the layer: its weights are `[4 * outputs, inputs, 2, 2]`, see [`phases`].
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the weights lack the layer, or have it in another shape.
    pub fn load(
        from: &mut LayerReader<'_>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
    ) -> Result<Self, WeightsError> {
        let filter = Filter { size: 2, stride: 1, padding: 0, padding_after: 0 };
        let layer = Layer { filter, ..Layer::pointwise(inputs, outputs) }.then(activation);
        Ok(Self { phases: from.layers(name, layer, 4)? })
    }

    /// # Shapes
    ///
    /// - map: `[batch, rows, columns, inputs]`
    /// - output: `[batch, 2 * rows, 2 * columns, outputs]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, rows, columns, _] = map.dims();
        let bordered = map.permute([0, 3, 1, 2]).pad((1, 1, 1, 1), 0.0).permute([0, 2, 3, 1]);
        let phase = |(nth, phase): (usize, &Convolution)| {
            let from = bordered.clone().narrow(1, nth / 2, rows + 1);
            phase.forward(from.narrow(2, nth % 2, columns + 1))
        };
        let phases: Vec<_> = self.phases.iter().enumerate().map(phase).collect();
        let outputs = phases[0].dims()[3];
        Tensor::stack::<5>(phases, 3)
            .reshape([batch, rows, columns, 2, 2, outputs])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([batch, 2 * rows, 2 * columns, outputs])
    }
}

/// Returns the weights of a transposed convolution as those of [`Doubling`].
///
/// # Shapes
///
/// - weight: `[inputs, outputs, 4, 4]`
/// - result: `[4 * outputs, inputs, 2, 2]`, the filters of even rows and columns first
pub fn phases(weight: &[f32], [inputs, outputs]: [usize; 2]) -> Vec<f32> {
    /// The rows of the filter that an even and an odd row of the output use.
    const TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];
    let mut result = Vec::with_capacity(weight.len());
    for (down, across) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for output in 0..outputs {
            for input in 0..inputs {
                let filter = &weight[(input * outputs + output) * 16..][..16];
                for row in TAPS[down] {
                    result.extend(TAPS[across].map(|column| filter[4 * row + column]));
                }
            }
        }
    }
    result
}

/// Moves each four channels to a square of pixels.
///
/// # Shapes
///
/// - map: `[batch, rows, columns, 4 * channels]`
/// - output: `[batch, 2 * rows, 2 * columns, channels]`
pub fn shuffle_pixels(map: Tensor<4>) -> Tensor<4> {
    let [batch, rows, columns, channels] = map.dims();
    map.reshape([batch, rows, columns, channels / 4, 2, 2]).permute([0, 1, 4, 2, 5, 3]).reshape([
        batch,
        2 * rows,
        2 * columns,
        channels / 4,
    ])
}
