//! The homography between a picture and the floor, from four points.
//!
//! Source: R. Hartley and A. Zisserman, "Multiple View Geometry in Computer Vision", 2nd edition, section 4.1 (the
//! direct linear transformation).

/// Two points that belong together: in shares of the picture, and in metres on the floor.
pub(super) type Pair = ([f64; 2], [f64; 2]);

/// Rows times columns of the system of equations.
const N: usize = 8;
const MIN_PIVOT: f64 = 1e-9;
/// Twice the area of three points; a smaller one is a line.
const MIN_AREA: f64 = 1e-6;

/// Maps the picture to the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Homography {
    /// Between the four points of the picture, where the scale is 1: elsewhere it may be zero.
    origin: [f64; 2],
    elements: [f64; 8],
}

impl Homography {
    /// Returns the homography of four pairs of points; none if three of them are in a line.
    pub(super) fn of(pairs: &[Pair; 4]) -> Option<Self> {
        let [picture, floor] = [pairs.map(|pair| pair.0), pairs.map(|pair| pair.1)];
        if [&picture, &floor].into_iter().any(has_line) {
            return None;
        }
        let mean = |axis: usize| picture.iter().map(|point| point[axis]).sum::<f64>() / 4.0;
        let origin = [mean(0), mean(1)];
        let mut rows = [[0.0; N + 1]; N];
        for (nth, ([x, y], [to_x, to_y])) in pairs.iter().enumerate() {
            let (x, y) = (x - origin[0], y - origin[1]);
            rows[2 * nth] = [x, y, 1.0, 0.0, 0.0, 0.0, -x * to_x, -y * to_x, *to_x];
            rows[2 * nth + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -x * to_y, -y * to_y, *to_y];
        }
        Some(Self { origin, elements: solve(rows)? })
    }

    /// Returns the place on the floor; none for a point at or beyond the horizon.
    pub(super) fn apply(&self, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
        let from = [x - self.origin[0], y - self.origin[1], 1.0];
        let [across, along] = [0, 3].map(|first| {
            let row = self.elements[first..].iter();
            row.zip(from).map(|(element, from)| element * from).sum::<f64>()
        });
        let [.., scale_x, scale_y] = self.elements;
        let scale = scale_x * from[0] + scale_y * from[1] + 1.0;
        let place = [across / scale, along / scale];
        (scale > MIN_PIVOT && place.iter().all(|side| side.is_finite())).then_some(place)
    }
}

/// True if three of the points are in a line, or not finite.
fn has_line(points: &[[f64; 2]; 4]) -> bool {
    (0..4).any(|left_out| {
        let mut others = points.iter().enumerate().filter(|(nth, _)| *nth != left_out);
        let [Some(a), Some(b), Some(c)] = [others.next(), others.next(), others.next()] else {
            return true;
        };
        let (a, b, c) = (a.1, b.1, c.1);
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        area.is_nan() || area.abs() < MIN_AREA
    })
}

/// Solves the equations by elimination with pivots; none if they depend on each other.
fn solve(mut rows: [[f64; N + 1]; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot =
            (column..N).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        if rows[pivot][column].abs() < MIN_PIVOT {
            return None;
        }
        rows.swap(column, pivot);
        let pivot = rows[column];
        for (_, row) in rows.iter_mut().enumerate().filter(|(nth, _)| *nth != column) {
            let factor = row[column] / pivot[column];
            for (value, of_pivot) in row.iter_mut().zip(pivot) {
                *value -= factor * of_pivot;
            }
        }
    }
    Some(std::array::from_fn(|nth| rows[nth][N] / rows[nth][nth]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera that sees a floor of four by six metres as a trapezium.
    const FLOOR: [Pair; 4] = [
        ([0.3, 0.4], [0.0, 6.0]),
        ([0.7, 0.4], [4.0, 6.0]),
        ([1.0, 1.0], [4.0, 0.0]),
        ([0.0, 1.0], [0.0, 0.0]),
    ];

    fn assert_close(place: [f64; 2], expected: [f64; 2]) {
        let away = (place[0] - expected[0]).hypot(place[1] - expected[1]);
        assert!(away < 1e-9, "{place:?} instead of {expected:?}");
    }

    #[test]
    fn the_points_are_where_they_are_said_to_be() {
        let homography = Homography::of(&FLOOR).expect("four corners");
        for (picture, floor) in FLOOR {
            assert_close(homography.apply(picture).expect("on the floor"), floor);
        }
    }

    #[test]
    fn diagonals_cross_in_the_middle() {
        // The diagonals of the trapezium cross where those of the floor do.
        let homography = Homography::of(&FLOOR).expect("four corners");
        let crossing = [0.5, 0.4 + 0.6 * 0.4 / 1.4];
        assert_close(homography.apply(crossing).expect("on the floor"), [2.0, 3.0]);
    }

    #[test]
    fn beyond_the_horizon_there_is_no_floor() {
        let homography = Homography::of(&FLOOR).expect("four corners");
        assert_eq!(homography.apply([0.5, -0.2]), None);
        assert_eq!(homography.apply([f64::NAN, 0.5]), None);
    }

    #[test]
    fn points_in_a_line_are_refused() {
        let mut line = FLOOR;
        line[2].0 = [0.5, 0.4];
        assert_eq!(Homography::of(&line), None);
    }
}
