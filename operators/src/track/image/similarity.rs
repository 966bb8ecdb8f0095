//! How well a track and a detection match: intersection over union, and object keypoint similarity.
//!
//! Source: M. Ruggero Ronchi and P. Perona, "Benchmarking and error diagnosis in multi-instance pose
//! estimation", ICCV 2017, and the COCO keypoint evaluation (object keypoint similarity).

use serde::{Deserialize, Serialize};

/// The 17 COCO keypoints, each `[x, y, confidence]`, with x and y in pixels and confidence from 0 to 1.
///
/// A keypoint of confidence 0 is not there.
pub(in crate::track) type Keypoints = [[f64; 3]; 17];

/// Spread of each keypoint between annotators, relative to the root of a person's area (COCO).
const SPREADS: [f64; 17] = [
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
];
/// Share of a bounding box that the person fills, on average over COCO.
const FILLED: f64 = 0.53;

/// Returns the intersection over union of two boxes `[x, y, width, height]`, from 0 to 1.
pub fn intersection_over_union(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let shared = |axis: usize| {
        let end = (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]);
        (end - a[axis].max(b[axis])).max(0.0)
    };
    let intersection = shared(0) * shared(1);
    if intersection > 0.0 { intersection / (a[2] * a[3] + b[2] * b[3] - intersection) } else { 0.0 }
}

/// Returns the object keypoint similarity, from 0 to 1; `None` without a keypoint that both have.
///
/// Each keypoint counts in proportion to both confidences. `area` is of the bounding box, in pixels².
pub(super) fn object_keypoint_similarity(a: &Keypoints, b: &Keypoints, area: f64) -> Option<f64> {
    let (mut total, mut weights) = (0.0, 0.0);
    for ((a, b), spread) in a.iter().zip(b).zip(SPREADS) {
        let weight = a[2] * b[2];
        let squared = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        if weight > 0.0 {
            total += weight * (-squared / (8.0 * spread.powi(2) * FILLED * area)).exp();
            weights += weight;
        }
    }
    let similarity = total / weights;
    similarity.is_finite().then_some(similarity)
}

/// Keypoints relative to their bounding box, so that they can move and grow with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pose(Keypoints);

impl Pose {
    /// Returns the pose of keypoints within `[x, y, width, height]`.
    pub(super) fn within(keypoints: &Keypoints, [x, y, width, height]: [f64; 4]) -> Self {
        Self(
            keypoints.map(|[at_x, at_y, confidence]| {
                [(at_x - x) / width, (at_y - y) / height, confidence]
            }),
        )
    }

    /// Returns the keypoints of the pose within `[x, y, width, height]`, in pixels.
    pub(super) fn moved_to(&self, [x, y, width, height]: [f64; 4]) -> Keypoints {
        self.0.map(|[at_x, at_y, confidence]| [x + at_x * width, y + at_y * height, confidence])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersection_is_over_union() {
        let unit = [0.0, 0.0, 1.0, 1.0];
        for (name, bbox, expected) in [
            ("equal", unit, 1.0),
            ("half beside", [0.5, 0.0, 1.0, 1.0], 1.0 / 3.0),
            ("within", [0.25, 0.25, 0.5, 0.5], 0.25),
            ("touching", [1.0, 0.0, 1.0, 1.0], 0.0),
            ("apart on both axes", [3.0, 3.0, 1.0, 1.0], 0.0),
            ("without area", [0.5, 0.5, 0.0, 0.0], 0.0),
        ] {
            let ratio = intersection_over_union(&unit, &bbox);
            assert!((ratio - expected).abs() < 1e-12, "{name}: {ratio}");
            assert_eq!(ratio, intersection_over_union(&bbox, &unit), "{name}");
        }
    }

    #[test]
    fn keypoint_similarity_falls_with_distance() {
        let at = |x: f64| [[x, 0.0, 1.0]; 17];
        let similarity = |x| object_keypoint_similarity(&at(0.0), &at(x), 100.0);
        assert_eq!(similarity(0.0), Some(1.0));
        assert!(similarity(1.0) > similarity(2.0) && similarity(50.0) < Some(1e-9));
        assert_eq!(
            object_keypoint_similarity(&at(0.0), &[[0.0; 3]; 17], 100.0),
            None,
            "none in common"
        );
        assert_eq!(object_keypoint_similarity(&at(0.0), &at(f64::NAN), 100.0), None);
    }

    #[test]
    fn keypoint_similarity_agrees_with_coco() {
        // One keypoint, the nose: exp(-d² / (2 · area · (2 · 0.026)²)).
        let mut nose = [[0.0; 3]; 17];
        nose[0] = [0.0, 0.0, 1.0];
        let mut off = nose;
        off[0][0] = 3.0;
        let expected = (-9.0_f64 / (2.0 * 5_300.0 * 0.052 * 0.052)).exp();
        let similarity = object_keypoint_similarity(&nose, &off, 10_000.0).unwrap_or_default();
        assert!((similarity - expected).abs() < 1e-12, "{similarity} {expected}");
    }

    #[test]
    fn a_pose_moves_with_its_box() {
        let pose = Pose::within(&[[15.0, 30.0, 0.5]; 17], [10.0, 20.0, 10.0, 20.0]);
        assert_eq!(pose.moved_to([100.0, 200.0, 20.0, 40.0]), [[110.0, 220.0, 0.5]; 17]);
    }
}
