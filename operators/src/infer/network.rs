//! The network: a few convolutions over the floor's grid.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::tensor::{Device, Tensor};
use schemas::N_KEYPOINTS;

/// Channels of the inner layers.
const WIDTH: usize = 40;
/// Channels of the output: presence, offset along x and y, then along x and up for each keypoint.
pub(super) const OUTPUTS: usize = 3 + 2 * N_KEYPOINTS;
/// Numbers of people that the network distinguishes: 0, 1 and so on; the last one means this many or more.
pub(super) const COUNTS: usize = 4;

/// Predicts, for each cell of the floor, the presence, position and pose of a person, and the number of people in
/// the room: two who stand close together are one peak of presence.
#[derive(Module, Debug)]
pub(super) struct Network {
    first: Conv2d,
    second: Conv2d,
    third: Conv2d,
    fourth: Conv2d,
    head: Conv2d,
    count_hidden: Linear,
    count: Linear,
    relu: Relu,
}

/// The output of the network.
#[derive(Debug)]
pub(super) struct Output {
    /// `[batch, outputs, rows, columns]`, presence as a logit, lengths in metres.
    pub(super) cells: Tensor<4>,
    /// `[batch, counts]`, logits.
    pub(super) counts: Tensor<2>,
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
            count_hidden: LinearConfig::new(2 * WIDTH, WIDTH).init(device),
            count: LinearConfig::new(WIDTH, COUNTS).init(device),
            relu: Relu::new(),
        }
    }

    /// # Shapes
    ///
    /// - input: `[batch, n_channels, rows, columns]`
    /// - output: see [`Output`]
    pub(super) fn forward(&self, pictures: Tensor<4>) -> Output {
        let places = places(&pictures);
        let layer = |conv: &Conv2d, input| self.relu.forward(conv.forward(input));
        let first = layer(&self.first, Tensor::cat(vec![pictures, places], 1));
        let second = layer(&self.second, first.clone());
        let third = layer(&self.third, second.clone() + first);
        let fourth = layer(&self.fourth, third + second);
        let room = Tensor::cat(vec![mean_of_cells(&fourth), highest_of_cells(&fourth)], 1);
        let room = self.relu.forward(self.count_hidden.forward(room));
        Output { cells: self.head.forward(fourth), counts: self.count.forward(room) }
    }
}

/// Returns the mean of each channel, `[batch, channels]`.
fn mean_of_cells(cells: &Tensor<4>) -> Tensor<2> {
    let [batch, channels, rows, columns] = cells.dims();
    cells.clone().reshape([batch, channels, rows * columns]).mean_dim(2).reshape([batch, channels])
}

/// Returns the highest value of each channel, `[batch, channels]`.
fn highest_of_cells(cells: &Tensor<4>) -> Tensor<2> {
    let [batch, channels, rows, columns] = cells.dims();
    cells.clone().reshape([batch, channels, rows * columns]).max_dim(2).reshape([batch, channels])
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
