//! The empty room: the channel of each receiver while nobody is in the room.

use num_complex::Complex32;
use schemas::{CsiBatch, ReceiverGeometry};
use serde::{Deserialize, Serialize};

use crate::infer::align::align;
use crate::infer::layout::{InputLayout, distance, ray, values_of};

/// The channels of all receivers of a layout, in its order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmptyRoom(Vec<Channel>);

/// The channel of one receiver, `[n_rx, n_subcarriers]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Channel(#[serde(with = "schemas::flat_complex")] Vec<Complex32>);

impl EmptyRoom {
    /// Returns a room of channels, each `[n_rx, n_subcarriers]`.
    fn new(channels: impl Iterator<Item = Vec<Complex32>>) -> Self {
        Self(channels.map(Channel).collect())
    }

    /// Returns a room that has nothing but the direct rays.
    fn without_walls(layout: &InputLayout) -> Self {
        let geometry = &layout.geometry;
        let channel = |receiver| {
            let direct = |(antenna_m, subcarrier)| {
                ray(geometry, distance(geometry.transmitter_m, antenna_m), subcarrier)
            };
            values_of(geometry, receiver).map(direct).collect()
        };
        Self::new(geometry.receivers.iter().map(channel))
    }

    /// Returns the mean channels of frames that nobody disturbed; zeros for a receiver without frames.
    pub fn measure(layout: &InputLayout, frames: impl Iterator<Item = CsiBatch>) -> Self {
        let geometry = &layout.geometry;
        let direct = Self::without_walls(layout);
        let mut sums: Vec<_> =
            direct.0.iter().map(|it| vec![Complex32::ZERO; it.0.len()]).collect();
        let mut n_frames = vec![0.0_f32; sums.len()];
        for batch in frames {
            let named = |it: &ReceiverGeometry| it.name == batch.link.receiver;
            let Some(at) = geometry.receivers.iter().position(named) else { continue };
            for frame_idx in 0..batch.len() {
                let mut aligned = batch.values(frame_idx).to_vec();
                align(&mut aligned, &direct.0[at].0, &geometry.subcarriers);
                sums[at].iter_mut().zip(&aligned).for_each(|(sum, value)| *sum += value);
                n_frames[at] += 1.0;
            }
        }
        for (sum, n_frames) in sums.iter_mut().zip(n_frames) {
            for sum in sum {
                *sum /= n_frames.max(1.0);
            }
        }
        Self::new(sums.into_iter())
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &[Complex32]> {
        self.0.iter().map(|channel| channel.0.as_slice())
    }

    /// True if there is a value for each antenna and subcarrier of a layout, and a subcarrier at least.
    pub(super) fn fits(&self, layout: &InputLayout) -> bool {
        let geometry = &layout.geometry;
        if geometry.subcarriers.is_empty() {
            return false;
        }
        let n_values =
            geometry.receivers.iter().map(|receiver| values_of(geometry, receiver).count());
        n_values.eq(self.channels().map(<[_]>::len))
    }
}
