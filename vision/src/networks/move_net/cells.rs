//! The keypoints of a person in MoveNet's output.

use super::part::Part;
use crate::pose_estimator::{Keypoint, N_KEYPOINTS, Pose};

/// How fast a peak counts less, in cells from where it was expected.
const NEAR_CELLS: f32 = 1.8;

/// The output for one person, `[side, side, n]` each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a> {
    pub(super) side: usize,
    pub(super) centre: &'a [f32],
    pub(super) heat_map: &'a [f32],
    pub(super) regression: &'a [f32],
    pub(super) offset: &'a [f32],
}

impl Cells<'_> {
    /// Returns each keypoint at the highest peak of its heat map near the place where the person's centre
    /// expects it.
    pub(super) fn pose(&self, part: &Part) -> Pose {
        let middle = (self.side as f32 - 1.0) / 2.0;
        let centre = self.highest(self.centre, 1, 0, [middle, middle], |_, _| true);
        let mut pose = Pose::default();
        for (nth, keypoint) in pose.iter_mut().enumerate() {
            let pair = |map: &[f32], cell: [usize; 2]| {
                let at = ((cell[0] * self.side + cell[1]) * N_KEYPOINTS + nth) * 2;
                [cell[0] as f32 + map[at], cell[1] as f32 + map[at + 1]]
            };
            let expected = pair(self.regression, centre);
            let holds = |row, column| part.holds(row, column);
            let cell = self.highest(self.heat_map, N_KEYPOINTS, nth, expected, holds);
            let [row, column] = pair(self.offset, cell);
            *keypoint = Keypoint {
                x: part.x + column * part.cell_px,
                y: part.y + row * part.cell_px,
                confidence: self.heat_map[(cell[0] * self.side + cell[1]) * N_KEYPOINTS + nth],
            };
        }
        pose
    }

    /// Returns row and column of the highest value, weighed by the distance to `expected`.
    fn highest(
        &self,
        map: &[f32],
        channels: usize,
        channel: usize,
        expected: [f32; 2],
        counts: impl Fn(usize, usize) -> bool,
    ) -> [usize; 2] {
        let mut highest = ([0, 0], f32::NEG_INFINITY);
        for (nth, values) in map.chunks_exact(channels).enumerate() {
            let cell = [nth / self.side, nth % self.side];
            let away = (cell[0] as f32 - expected[0]).hypot(cell[1] as f32 - expected[1]);
            let value = values[channel] / (away + NEAR_CELLS);
            if value > highest.1 && counts(cell[0], cell[1]) {
                highest = (cell, value);
            }
        }
        highest.0
    }
}
