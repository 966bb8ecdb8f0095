//! The network: a few convolutions over the floor's grid.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{PaddingConfig2d, Relu};
use burn::tensor::{Device, Tensor};
use schemas::N_KEYPOINTS;

/// Channels of the inner layers.
const WIDTH: usize = 40;
/// Channels of the output: presence, offset along x and y, then along x and up for each keypoint.
pub(super) const OUTPUTS: usize = 3 + 2 * N_KEYPOINTS;

/// Predicts, for each cell of the floor, the presence, position and pose of a person.
#[derive(Module, Debug)]
pub(super) struct Network {
    first: Conv2d,
    second: Conv2d,
    third: Conv2d,
    fourth: Conv2d,
    head: Conv2d,
    relu: Relu,
}

impl Network {
    /// Returns a network with random weights, for pictures of `n_channels`. It adds two channels with the
    /// place of each cell.
    pub(super) fn new(n_channels: usize, device: &Device) -> Self {
        let conv = |channels_in, dilation: usize| {
            Conv2dConfig::new([channels_in, WIDTH], [3, 3])
                .with_dilation([dilation; 2])
                .with_padding(PaddingConfig2d::Explicit(dilation, dilation, dilation, dilation))
                .init(device)
        };
        Self {
            first: conv(n_channels + 2, 1),
            second: conv(WIDTH, 2),
            third: conv(WIDTH, 4),
            fourth: conv(WIDTH, 1),
            head: Conv2dConfig::new([WIDTH, OUTPUTS], [1, 1]).init(device),
            relu: Relu::new(),
        }
    }

    /// # Shapes
    ///
    /// - input: `[batch, n_channels, rows, columns]`
    /// - output: `[batch, outputs, rows, columns]`, presence as a logit, lengths in metres
    pub(super) fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        let places = places(&pictures);
        let layer = |conv: &Conv2d, input| self.relu.forward(conv.forward(input));
        let first = layer(&self.first, Tensor::cat(vec![pictures, places], 1));
        let second = layer(&self.second, first.clone());
        let third = layer(&self.third, second.clone() + first);
        let fourth = layer(&self.fourth, third + second);
        self.head.forward(fourth)
    }
}

/// Returns each cell's column and row from -1 to 1, `[batch, 2, rows, columns]`.
fn places(pictures: &Tensor<4>) -> Tensor<4> {
    let ([batch, _, rows, columns], device) = (pictures.dims(), pictures.device());
    let ramp = |n: usize| -> Vec<f32> {
        (0..n).map(|nth| (2.0 * nth as f32 + 1.0) / n as f32 - 1.0).collect()
    };
    let across = Tensor::<1>::from_floats(ramp(columns).as_slice(), &device);
    let down = Tensor::<1>::from_floats(ramp(rows).as_slice(), &device);
    let across = across.reshape([1, 1, 1, columns]).expand([batch, 1, rows, columns]);
    let down = down.reshape([1, 1, rows, 1]).expand([batch, 1, rows, columns]);
    Tensor::cat(vec![across, down], 1)
}
