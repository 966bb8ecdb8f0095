//! Pose estimation from the top down: a network sees the part of a picture around one person, and returns heat maps.

use std::fmt::Debug;

use burn::tensor::{Device, Tensor};

use crate::heat_map::{HeatMap, Spacing};
use crate::kernels::buffer;
use crate::layers::tensor;
use crate::pictures::{Axis, Border, Normalisation, sample};
use crate::pose_estimator::{MIRRORED, Pose, PoseEstimator, Subject};

/// The part of a picture is this much larger than the person.
const MARGIN: f32 = 1.25;

/// A network that returns heat maps.
pub(super) trait HeatMapNetwork: Debug + Send + Sync {
    /// Returns the device of the weights.
    fn device(&self) -> Device;

    /// # Shapes
    ///
    /// - pictures: `[batch, rows, columns, 3]`, red, green and blue, normalised
    /// - output: `[batch, rows / 4, columns / 4, 17]`, a heat map per keypoint
    fn forward(&self, pictures: Tensor<4>) -> Tensor<4>;
}

/// What a network was trained with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Training {
    /// Rows and columns of the input.
    pub(super) pixels: [usize; 2],
    pub(super) normalisation: Normalisation,
    /// How lengths in pixels were measured.
    pub(super) spacing: Spacing,
}

/// An estimator with a network.
#[derive(Debug)]
pub(super) struct TopDown<N> {
    pub(super) network: N,
    pub(super) training: Training,
    /// Whether each person is looked at a second time, in a mirror.
    pub(super) mirror: bool,
}

impl<N: HeatMapNetwork> TopDown<N> {
    /// Returns the heat maps, `[batch, rows / 4, columns / 4, 17]`.
    fn heat_maps(&self, subjects: &[Subject<'_>], axes: &[[Axis; 2]]) -> Vec<HeatMap> {
        let Training { pixels: [rows, columns], normalisation, .. } = self.training;
        let mut input = buffer(subjects.len() * rows * columns * 3);
        let parts = input.chunks_exact_mut(rows * columns * 3);
        for ((part, subject), [down, across]) in parts.zip(subjects).zip(axes) {
            sample(subject.picture, *down, *across, Border::Constant(0.0), part);
            normalisation.apply(part);
        }
        let shape = [subjects.len(), rows, columns, 3];
        HeatMap::split(self.network.forward(tensor(input, shape, &self.network.device())))
    }

    /// Returns the rows and columns of the part that the network sees of a person.
    fn axes(&self, subject: &Subject<'_>) -> [Axis; 2] {
        let Training { pixels: [rows, columns], spacing, .. } = self.training;
        let part = subject.rectangle.with_aspect(columns as f32 / rows as f32, MARGIN);
        let (x, y) = part.centre();
        [spacing.axis(y, part.height, rows), spacing.axis(x, part.width, columns)]
    }
}

/// Returns an axis in the other direction.
fn mirrored(axis: Axis) -> Axis {
    let last = axis.offset + axis.scale * (axis.len - 1) as f32;
    Axis { offset: last, scale: -axis.scale, ..axis }
}

impl<N: HeatMapNetwork> PoseEstimator for TopDown<N> {
    fn estimate(&self, subjects: &[Subject<'_>]) -> Vec<Pose> {
        let axes: Vec<_> = subjects.iter().map(|subject| self.axes(subject)).collect();
        let mut maps = self.heat_maps(subjects, &axes);
        if self.mirror {
            let mirrored = axes.iter().map(|[down, across]| [*down, mirrored(*across)]);
            let others = self.heat_maps(subjects, &mirrored.collect::<Vec<_>>());
            for (map, other) in maps.iter_mut().zip(others) {
                map.average_with_mirrored(&other, &MIRRORED);
            }
        }
        let spacing = self.training.spacing;
        let poses = maps.into_iter().zip(axes);
        poses.map(|(map, [down, across])| map.pose(down, across, spacing)).collect()
    }
}
