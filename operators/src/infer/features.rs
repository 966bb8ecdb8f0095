//! Features: the pictures of all receivers, as the input of the network.

use std::collections::VecDeque;

use schemas::CsiBatch;
use serde::{Deserialize, Serialize};

use crate::infer::empty_room::EmptyRoom;
use crate::infer::layout::InputLayout;
use crate::infer::receiver::{PICTURES, Receiver, RecentFrame};

/// The value of each cell of a receiver without frames: less than any noise.
const NO_PICTURE: f32 = -2.1;

/// True if every receiver has frames.
///
/// # Shapes
///
/// - `pictures`: `[n_channels, rows, columns]`
pub(super) fn is_complete(layout: &InputLayout, pictures: &[f32]) -> bool {
    let is_empty = |picture: &[f32]| picture.iter().all(|value| *value == NO_PICTURE);
    !pictures.chunks(layout.n_cells().max(1)).any(is_empty)
}

/// Conversion of frames to pictures, by the geometry of each receiver.
#[derive(Clone, Debug)]
pub struct Features {
    layout: InputLayout,
    receivers: Vec<Receiver>,
}

/// The recent frames of each receiver of a site, in the order of the layout.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecentFrames(Vec<VecDeque<RecentFrame>>);

impl Features {
    /// Returns the features of a layout.
    pub fn new(layout: InputLayout, empty_room: &EmptyRoom) -> Self {
        let receivers = layout.geometry.receivers.iter().zip(empty_room.channels());
        let receivers = receivers
            .map(|(receiver, empty)| Receiver::new(receiver, &layout, empty.to_vec()))
            .collect();
        Self { layout, receivers }
    }

    /// Returns the geometry of the radios and the floor.
    pub fn layout(&self) -> &InputLayout {
        &self.layout
    }

    /// Returns an empty list of frames for each receiver.
    pub fn no_frames(&self) -> RecentFrames {
        RecentFrames(self.receivers.iter().map(|_| VecDeque::new()).collect())
    }

    /// True if the layout contains the batch's receiver, with its antennas and subcarriers.
    pub(super) fn knows(&self, batch: &CsiBatch) -> bool {
        self.receiver_idx(batch).is_some()
    }

    /// Returns the index of a batch's receiver, if the layout contains such frames.
    fn receiver_idx(&self, batch: &CsiBatch) -> Option<usize> {
        let named = |known: &Receiver| known.name == batch.link.receiver;
        let receiver_idx = self.receivers.iter().position(named)?;
        let (n_rx, n_tx) = (usize::from(batch.layout.n_rx), batch.layout.n_tx);
        let fits = (n_rx, n_tx) == (self.receivers[receiver_idx].n_rx, 1)
            && batch.layout.subcarriers == self.layout.geometry.subcarriers;
        fits.then_some(receiver_idx)
    }

    /// Adds the frames of a batch. Returns false if the layout does not contain such frames.
    pub fn push(&self, batch: &CsiBatch, recent: &mut RecentFrames) -> bool {
        let Some(receiver_idx) = self.receiver_idx(batch) else { return false };
        let receiver = &self.receivers[receiver_idx];
        let Some(frames) = recent.0.get_mut(receiver_idx) else { return false };
        let subcarriers = &self.layout.geometry.subcarriers;
        for frame_idx in 0..batch.len() {
            let captured_at_ns = batch.captured_at_ns[frame_idx];
            receiver.push(captured_at_ns, batch.values(frame_idx), subcarriers, frames);
        }
        true
    }

    /// Returns the pictures at `now_ns`, `[n_channels, rows, columns]`, on a logarithmic scale around 0. Those
    /// of a receiver with too few frames are empty; `None` if these are half of the receivers or more.
    pub fn pictures(&self, now_ns: i64, recent: &RecentFrames) -> Option<Vec<f32>> {
        let n_cells = self.layout.n_cells();
        let mut pictures = vec![NO_PICTURE; self.layout.n_channels() * n_cells];
        let mut n_drawn = 0;
        for ((receiver, frames), pictures) in
            self.receivers.iter().zip(&recent.0).zip(pictures.chunks_exact_mut(PICTURES * n_cells))
        {
            n_drawn += usize::from(receiver.draw(now_ns, frames, pictures).is_some());
        }
        (2 * n_drawn > self.receivers.len()).then_some(pictures)
    }
}
