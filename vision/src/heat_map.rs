//! Keypoints out of heat maps.
//!
//! The place between pixels is found as by distribution-aware coordinate representation (DARK; Zhang et al., arXiv
//! 1910.06278): near its peak, the logarithm of a smoothed heat map is a parabola.

use burn::tensor::Tensor;

use crate::layers::values;
use crate::pictures::Axis;
use crate::pose_estimator::{Keypoint, N_KEYPOINTS, Pose};

/// How lengths in pixels are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Between the centres of the first and the last pixel.
    Centres,
    /// Between the outer edges of the first and the last pixel, but with points at the left and upper edges of their
    /// pixels.
    Edges,
}

impl Spacing {
    /// Returns the pixels of the input from one pixel of a heat map to the next.
    fn step(self, input: usize, heat_map: usize) -> f32 {
        match self {
            Self::Centres => (input - 1) as f32 / (heat_map - 1).max(1) as f32,
            Self::Edges => input as f32 / heat_map as f32,
        }
    }

    /// Returns the axis of `len` pixels of an input that shows a length around a centre.
    pub(crate) fn axis(self, centre: f32, length: f32, len: usize) -> Axis {
        let steps = match self {
            Self::Centres => len - 1,
            Self::Edges => len,
        };
        let scale = length / steps as f32;
        Axis { len, offset: centre - scale * steps as f32 / 2.0, scale }
    }
}

/// The heat maps of one person.
#[derive(Debug)]
pub(crate) struct HeatMap {
    rows: usize,
    columns: usize,
    /// `[17, rows, columns]`.
    values: Vec<f32>,
}

impl HeatMap {
    /// Returns the heat maps of each person.
    ///
    /// # Shapes
    ///
    /// - maps: `[batch, rows, columns, 17]`
    pub(crate) fn split(maps: Tensor<4>) -> Vec<Self> {
        let [_, rows, columns, keypoints] = maps.dims();
        let values = values(maps.permute([0, 3, 1, 2]));
        let maps = values.chunks_exact(keypoints * rows * columns);
        maps.map(|values| Self { rows, columns, values: values.to_vec() }).collect()
    }

    /// Averages with the heat maps of the mirrored picture, in which `mirrored` says where each keypoint is.
    pub(crate) fn average_with_mirrored(&mut self, other: &Self, mirrored: &[usize; N_KEYPOINTS]) {
        let len = self.rows * self.columns;
        for (map, nth) in self.values.chunks_exact_mut(len).zip(mirrored) {
            let other = &other.values[nth * len..][..len];
            let rows = map.chunks_exact_mut(self.columns).zip(other.chunks_exact(self.columns));
            for (row, other) in rows {
                for (value, other) in row.iter_mut().zip(other.iter().rev()) {
                    *value = f32::midpoint(*value, *other);
                }
            }
        }
    }

    /// Returns the keypoints in the picture, given where the rows and columns of the input lie in it.
    pub(crate) fn pose(&self, down: Axis, across: Axis, spacing: Spacing) -> Pose {
        let place = |axis: Axis, at: f32, len: usize| {
            axis.offset + axis.scale * at * spacing.step(axis.len, len)
        };
        let maps = self.values.chunks_exact(self.rows * self.columns);
        let mut pose = Pose::default();
        for (keypoint, map) in pose.iter_mut().zip(maps) {
            let (peak, confidence) = peak(map);
            let [row, column] = self.refined(map, [peak / self.columns, peak % self.columns]);
            *keypoint = Keypoint {
                x: place(across, column, self.columns),
                y: place(down, row, self.rows),
                confidence: confidence.clamp(0.0, 1.0),
            };
        }
        pose
    }

    /// Returns the place of the peak between the pixels.
    fn refined(&self, map: &[f32], [row, column]: [usize; 2]) -> [f32; 2] {
        const NEIGHBOURS: usize = 2;
        let whole = [row as f32, column as f32];
        let inside = |at: usize, len: usize| at >= NEIGHBOURS && at + NEIGHBOURS < len;
        if !inside(row, self.rows) || !inside(column, self.columns) {
            return whole;
        }
        let value = |down: isize, across: isize| {
            let (row, column) = (row.wrapping_add_signed(down), column.wrapping_add_signed(across));
            self.smoothed(map, row, column).max(1e-10).ln()
        };
        let centre = value(0, 0);
        let slope = [(value(1, 0) - value(-1, 0)) / 2.0, (value(0, 1) - value(0, -1)) / 2.0];
        let rows = (value(2, 0) - 2.0 * centre + value(-2, 0)) / 4.0;
        let columns = (value(0, 2) - 2.0 * centre + value(0, -2)) / 4.0;
        let mixed = (value(1, 1) - value(-1, 1) - value(1, -1) + value(-1, -1)) / 4.0;
        let determinant = rows * columns - mixed * mixed;
        let step = [
            (mixed * slope[1] - columns * slope[0]) / determinant,
            (mixed * slope[0] - rows * slope[1]) / determinant,
        ];
        let near = |step: f32| step.abs() < NEIGHBOURS as f32;
        if determinant.abs() > 1e-12 && step.into_iter().all(near) {
            [whole[0] + step[0], whole[1] + step[1]]
        } else {
            whole
        }
    }

    /// Returns a value smoothed by a Gaussian over five pixels, mirrored at the borders.
    fn smoothed(&self, map: &[f32], row: usize, column: usize) -> f32 {
        const GAUSSIAN: [f32; 5] = [0.0625, 0.25, 0.375, 0.25, 0.0625];
        let mut sum = 0.0;
        for (down, row_weight) in GAUSSIAN.into_iter().enumerate() {
            let row = reflected(row + down, self.rows);
            for (across, weight) in GAUSSIAN.into_iter().enumerate() {
                let column = reflected(column + across, self.columns);
                sum += row_weight * weight * map[row * self.columns + column];
            }
        }
        sum
    }
}

/// Returns the index that is two less, mirrored at the first and last one.
fn reflected(plus_two: usize, len: usize) -> usize {
    let index = plus_two.abs_diff(2);
    if index < len { index } else { (2 * (len - 1)).saturating_sub(index) }
}

fn peak(map: &[f32]) -> (usize, f32) {
    let mut peak = (0, f32::NEG_INFINITY);
    for (nth, value) in map.iter().enumerate() {
        if *value > peak.1 {
            peak = (nth, *value);
        }
    }
    peak
}
