//! The test whether a point is in a polygon.
//!
//! Source: M. Shimrat, "Algorithm 112: position of point relative to polygon", CACM 5(8), 1962.

/// True if `point` is inside, by the number of edges to its right. With less than three corners, no point is
/// inside. Points on an edge belong to one of two polygons that share it.
pub(super) fn contains(corners: &[[i32; 2]], point: [i32; 2]) -> bool {
    // The product of two distances does not fit in 64 bits.
    let [x, y] = point.map(i128::from);
    let mut inside = false;
    let mut last = corners.last().copied();
    for corner in corners {
        let ([x1, y1], [x2, y2]) =
            (last.unwrap_or(*corner).map(i128::from), corner.map(i128::from));
        if (y1 > y) != (y2 > y) {
            // The side of the edge that the point is on; a point on the edge has zero, and is to the right of
            // neither.
            let side = (x - x1) * (y2 - y1) - (y - y1) * (x2 - x1);
            inside ^= if y2 > y1 { side < 0 } else { side > 0 };
        }
        last = Some(*corner);
    }
    inside
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_inside_from_outside() {
        let square = [[0, 0], [10, 0], [10, 10], [0, 10]];
        let arrow = [[0, 0], [10, 5], [0, 10], [4, 5]];
        for (name, corners, point, expected) in [
            ("middle", &square[..], [5, 5], true),
            ("left", &square, [-1, 5], false),
            ("right", &square, [11, 5], false),
            ("far", &square, [i32::MAX, i32::MIN], false),
            ("notch", &arrow, [2, 5], false),
            ("tip", &arrow, [8, 5], true),
            ("line", &square[..2], [5, 0], false),
            ("nothing", &[], [0, 0], false),
            ("everything", &[[i32::MIN; 2], [i32::MAX, i32::MIN], [i32::MAX; 2]], [1, 0], true),
        ] {
            assert_eq!(contains(corners, point), expected, "{name}");
        }
    }

    proptest! {
        /// Corners and points may be at any distance.
        #[test]
        fn any_place_will_do(
            corners in prop::collection::vec(any::<[i32; 2]>(), 0..9),
            point in any::<[i32; 2]>(),
        ) {
            let mut reversed = corners.clone();
            reversed.reverse();
            prop_assert_eq!(contains(&corners, point), contains(&reversed, point));
        }
    }

    #[test]
    fn a_shared_edge_belongs_to_one() {
        let (left, right) = ([[0, 0], [5, 0], [5, 9], [0, 9]], [[5, 0], [9, 0], [9, 9], [5, 9]]);
        for y in 0..9 {
            assert_ne!(contains(&left, [5, y]), contains(&right, [5, y]), "at {y}");
        }
    }
}
