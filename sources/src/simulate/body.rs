//! A moving body of 17 joints.

use std::f32::consts::TAU;

use schemas::N_KEYPOINTS;

/// The posture of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posture {
    Standing,
    Walking,
    Sitting,
    Lying,
}

/// A body at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyState {
    /// Place of the pelvis on the plan.
    pub(super) place_m: [f32; 2],
    /// Direction the body faces, from the x axis.
    pub(super) heading_rad: f32,
    pub(super) height_m: f32,
    pub(super) from: Posture,
    pub(super) to: Posture,
    /// Completed share of the change between the postures, from 0 to 1.
    pub(super) changed: f32,
    pub(super) gait_cycles: f32,
    /// Completed share of the current breath, from 0 to 1.
    pub(super) breaths: f32,
}

/// Joints in the body's own frame (forward, left, up), in shares of its height.
type Joints = [[f32; 3]; N_KEYPOINTS];

/// Mirrors the paired joints: the nose alone, then left and right in turn.
const fn mirrored(nose: [f32; 3], left: [[f32; 3]; 8]) -> Joints {
    let mut joints = [nose; N_KEYPOINTS];
    let mut pair = 0;
    while pair < left.len() {
        let [forward, aside, up] = left[pair];
        joints[1 + 2 * pair] = [forward, aside, up];
        joints[2 + 2 * pair] = [forward, -aside, up];
        pair += 1;
    }
    joints
}

/// Pairs: eye, ear, shoulder, elbow, wrist, hip, knee, ankle.
const STANDING: Joints = mirrored(
    [0.06, 0.0, 0.93],
    [
        [0.05, 0.02, 0.95],
        [0.0, 0.045, 0.94],
        [0.0, 0.12, 0.82],
        [0.0, 0.15, 0.63],
        [0.03, 0.16, 0.47],
        [0.0, 0.06, 0.52],
        [0.01, 0.06, 0.28],
        [0.0, 0.06, 0.04],
    ],
);
const SITTING: Joints = mirrored(
    [0.06, 0.0, 0.68],
    [
        [0.05, 0.02, 0.70],
        [0.0, 0.045, 0.69],
        [0.0, 0.12, 0.57],
        [0.05, 0.15, 0.40],
        [0.18, 0.12, 0.33],
        [0.0, 0.06, 0.27],
        [0.24, 0.07, 0.27],
        [0.24, 0.07, 0.04],
    ],
);
const LYING: Joints = mirrored(
    [-0.43, 0.0, 0.12],
    [
        [-0.45, 0.02, 0.12],
        [-0.44, 0.045, 0.08],
        [-0.30, 0.12, 0.07],
        [-0.12, 0.15, 0.06],
        [0.03, 0.16, 0.06],
        [0.0, 0.06, 0.07],
        [0.24, 0.06, 0.08],
        [0.48, 0.06, 0.05],
    ],
);

/// The forward swing of each joint in a stride, in shares of the height; the other side swings back.
const STRIDE: [(usize, f32); 4] = [(7, -0.06), (9, -0.12), (13, 0.09), (15, 0.16)];
/// The movement of the chest in a breath.
const BREATH_M: f32 = 0.005;
/// Nose and shoulders move with the chest.
const CHEST: [usize; 3] = [0, 5, 6];

impl BodyState {
    /// True if the person walks or changes posture.
    pub(super) fn is_moving(&self) -> bool {
        self.to == Posture::Walking || self.changed < 1.0
    }

    /// Returns the joints in site coordinates, in metres, in the order of the COCO keypoints.
    pub(super) fn joints_m(&self) -> Joints {
        let (from, to) = (self.posture(self.from), self.posture(self.to));
        // Starts and ends gently.
        let share = self.changed * self.changed * (3.0 - 2.0 * self.changed);
        let breath_m = BREATH_M * (self.breaths * TAU).sin();
        let (sin, cos) = self.heading_rad.sin_cos();
        std::array::from_fn(|joint| {
            let blend = |axis: usize| {
                self.height_m * (from[joint][axis] + share * (to[joint][axis] - from[joint][axis]))
            };
            let breath_m = if CHEST.contains(&joint) { breath_m } else { 0.0 };
            let (forward_m, left_m, up_m) = (blend(0) + breath_m, blend(1), blend(2));
            let x_m = self.place_m[0] + cos * forward_m - sin * left_m;
            [x_m, self.place_m[1] + sin * forward_m + cos * left_m, up_m]
        })
    }

    fn posture(&self, posture: Posture) -> Joints {
        match posture {
            Posture::Standing => STANDING,
            Posture::Sitting => SITTING,
            Posture::Lying => LYING,
            Posture::Walking => {
                let swing = (self.gait_cycles.fract() * TAU).sin();
                let mut joints = STANDING;
                for (left, reach) in STRIDE {
                    joints[left][0] += reach * swing;
                    joints[left + 1][0] -= reach * swing;
                }
                joints
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(posture: Posture) -> BodyState {
        BodyState {
            place_m: [2.0, 1.0],
            heading_rad: 0.0,
            height_m: 1.8,
            from: posture,
            to: posture,
            changed: 1.0,
            gait_cycles: 0.25,
            breaths: 0.0,
        }
    }

    #[test]
    fn postures_differ_in_height() {
        let top_m =
            |posture| still(posture).joints_m().iter().map(|joint| joint[2]).fold(0.0, f32::max);
        assert!((top_m(Posture::Standing) - 1.71).abs() < 0.01);
        assert!((top_m(Posture::Sitting) - 1.26).abs() < 0.01);
        assert!(top_m(Posture::Lying) < 0.25);
    }

    #[test]
    fn legs_swing_against_each_other() {
        let joints = still(Posture::Walking).joints_m();
        assert!(joints[15][0] > 2.2 && joints[16][0] < 1.8, "{joints:?}");
    }
}
