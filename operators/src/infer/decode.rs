//! Conversion of the network's output to people, and back for training.

use schemas::{BoundingBox, KEYPOINT_NAMES, Keypoint, N_KEYPOINTS, Person, SitePosition};

use crate::infer::layout::InputLayout;
use crate::infer::network::OUTPUTS;

/// The least presence of a cell that contains a person.
const MIN_PRESENCE: f32 = 0.1;
/// The least presence of a person beyond those that are counted.
const CERTAIN_PRESENCE: f32 = 0.35;
/// Two peaks nearer than this are one person.
const MIN_DISTANCE_M: f32 = 0.5;
/// The least distance between a peak and a person without a peak, whom the network counts.
const MIN_APART_M: f32 = 0.3;
/// The most people in one frame.
const MAX_PERSONS: usize = 16;
/// Lengths are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f32 = 1e3;

/// A person in the network's output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Detection {
    pub(super) presence: f32,
    pub(super) position_m: [f32; 2],
    /// Along x from the position, and up from the floor, in metres.
    pub(super) keypoints_m: [[f32; 2]; N_KEYPOINTS],
}

/// Returns the people in one output, strongest first: as many as the network counts, if there is presence for them.
/// Without counts, there are as many as there are peaks.
///
/// # Shapes
///
/// - `cells`: `[outputs, rows, columns]`
/// - `counts`: `[counts]`, logits
pub(super) fn decode(
    layout: &InputLayout,
    cells: &[f32],
    counts: Option<&[f32]>,
) -> Vec<Detection> {
    let presence = &cells[..layout.n_cells().min(cells.len())];
    let present = (0..presence.len()).map(|cell| (sigmoid(presence[cell]), cell));
    let mut present: Vec<_> = present.filter(|(presence, _)| *presence >= MIN_PRESENCE).collect();
    present.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (peaks, slopes): (Vec<_>, Vec<_>) =
        present.into_iter().partition(|(_, cell)| is_peak(layout, cells, *cell));
    let n_certain = peaks.iter().filter(|(presence, _)| *presence >= CERTAIN_PRESENCE).count();
    let n_persons = counts.map_or(n_certain, |counts| match n_counted(counts) {
        // The last number means this many or more.
        counted if counted + 1 == counts.len() => counted.max(n_certain),
        counted => counted,
    });
    let mut detections = Vec::<Detection>::new();
    // Somebody who stands close to another person has no peak.
    for (candidates, apart_m) in [(peaks, MIN_DISTANCE_M), (slopes, MIN_APART_M)] {
        for (presence, cell) in candidates {
            let detection = read_cell(layout, cells, presence, cell);
            let near = |other: &Detection| detection.distance_m(other) < apart_m;
            if detections.len() < n_persons.min(MAX_PERSONS) && !detections.iter().any(near) {
                detections.push(detection);
            }
        }
    }
    detections
}

/// Returns the most probable number of people.
fn n_counted(counts: &[f32]) -> usize {
    let most = counts.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    most.map_or(0, |(n, _)| n)
}

/// True if no neighbour has more presence; the first of equal cells is the peak.
fn is_peak(layout: &InputLayout, presence: &[f32], cell: usize) -> bool {
    let (column, row) = (cell % layout.columns, cell / layout.columns);
    let around = |at: usize, end: usize| at.saturating_sub(1)..=(at + 1).min(end - 1);
    around(row, layout.rows).all(|row| {
        around(column, layout.columns).all(|column| {
            let other = row * layout.columns + column;
            presence[other] < presence[cell] || (presence[other] == presence[cell] && cell <= other)
        })
    })
}

fn read_cell(layout: &InputLayout, output: &[f32], presence: f32, cell: usize) -> Detection {
    let n_cells = layout.n_cells();
    let channel = |channel: usize| output[channel * n_cells + cell];
    let [x, y] = layout.cell_centre_m(cell % layout.columns, cell / layout.columns);
    let keypoints_m = std::array::from_fn(|nth| [channel(3 + 2 * nth), channel(4 + 2 * nth)]);
    Detection { presence, position_m: [x + channel(1), y + channel(2)], keypoints_m }
}

impl Detection {
    fn distance_m(&self, other: &Self) -> f32 {
        let [x, y] = [0, 1].map(|axis| self.position_m[axis] - other.position_m[axis]);
        x.hypot(y)
    }

    /// Converts the detection to a person in the room's elevation.
    pub(super) fn person(&self, index: usize, layout: &InputLayout) -> Person {
        let geometry = &layout.geometry;
        let [x_m, y_m] = self.position_m;
        let confidence = round(self.presence);
        let keypoints = (0_u8..).zip(KEYPOINT_NAMES).zip(self.keypoints_m);
        let keypoints = keypoints.map(|((id, name), [along_m, up_m])| Keypoint {
            id,
            name: name.to_owned(),
            x: round(((x_m + along_m) / geometry.width_m).clamp(0.0, 1.0)),
            y: round((1.0 - up_m / geometry.height_m).clamp(0.0, 1.0)),
            confidence,
        });
        let keypoints: Vec<_> = keypoints.collect();
        let position = SitePosition {
            x_m: round(x_m.clamp(0.0, geometry.width_m)),
            y_m: round(y_m.clamp(0.0, geometry.depth_m)),
        };
        Person {
            id: index.to_string(),
            bounding_box: BoundingBox::around(&keypoints),
            keypoints,
            confidence,
            position: Some(position),
            zone: None,
            activity: None,
        }
    }
}

fn round(value: f32) -> f32 {
    (value * ROUNDING).round() / ROUNDING
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the expected output of the network, and the weight of each value, both `[outputs, rows, columns]`.
pub(super) fn encode(
    layout: &InputLayout,
    persons: &[crate::infer::subject::Subject],
) -> (Vec<f32>, Vec<f32>) {
    /// Spread of a person's presence over cells.
    const SPREAD_M: f32 = 0.35;
    /// Cells within this distance of a person learn the person's place and pose.
    const LEARN_M: f32 = 0.65;
    let n_cells = layout.n_cells();
    let (mut target, mut weight) = (vec![0.0; OUTPUTS * n_cells], vec![0.0; OUTPUTS * n_cells]);
    for cell in 0..n_cells {
        let [x, y] = layout.cell_centre_m(cell % layout.columns, cell / layout.columns);
        let distance = |person: &&crate::infer::subject::Subject| {
            (person.position_m[0] - x).hypot(person.position_m[1] - y)
        };
        let nearest = persons.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let Some(person) = nearest else { continue };
        let distance_m = distance(&person);
        target[cell] = (-(distance_m / SPREAD_M).powi(2) / 2.0).exp();
        if distance_m > LEARN_M {
            continue;
        }
        let mut learn = |channel: usize, value: f32| {
            target[channel * n_cells + cell] = value;
            weight[channel * n_cells + cell] = 1.0;
        };
        learn(1, person.position_m[0] - x);
        learn(2, person.position_m[1] - y);
        for (nth, [along_m, up_m]) in person.keypoints_m.iter().enumerate() {
            learn(3 + 2 * nth, *along_m);
            learn(4 + 2 * nth, *up_m);
        }
    }
    (target, weight)
}

#[cfg(test)]
mod tests {
    use schemas::SiteGeometry;

    use super::*;
    use crate::infer::subject::Subject;

    #[test]
    fn what_is_encoded_is_decoded() {
        let geometry =
            SiteGeometry { width_m: 6.0, depth_m: 4.8, height_m: 2.6, ..Default::default() };
        let layout = InputLayout::new(geometry, 0.4);
        let subject = |x, y| Subject { position_m: [x, y], keypoints_m: [[0.1, 1.2]; N_KEYPOINTS] };
        let subjects = [subject(1.3, 2.2), subject(4.9, 0.7)];
        let (mut output, _) = encode(&layout, &subjects);
        for presence in &mut output[..layout.n_cells()] {
            // The target is a probability, the output its logit.
            let share = presence.clamp(1e-3, 1.0 - 1e-3);
            *presence = (share / (1.0 - share)).ln();
        }
        let mut found = decode(&layout, &output, Some(&[0.0, 0.0, 1.0, 0.0]));
        found.sort_by(|a, b| a.position_m[0].total_cmp(&b.position_m[0]));
        assert_eq!(found.len(), 2);
        for (found, subject) in found.iter().zip(subjects) {
            for axis in 0..2 {
                assert!((found.position_m[axis] - subject.position_m[axis]).abs() < 1e-4);
            }
            assert_eq!(found.keypoints_m, subject.keypoints_m);
        }
        assert_eq!(decode(&layout, &output, None).len(), 2, "there are two peaks");
        assert_eq!(decode(&layout, &output, Some(&[0.0, 1.0, 0.0, 0.0])).len(), 1);
        let three = decode(&layout, &output, Some(&[0.0, 0.0, 0.0, 1.0]));
        assert!(three.len() <= 3, "{three:?}");
        let person = found[0].person(0, &layout);
        assert_eq!(person.position, Some(SitePosition { x_m: 1.3, y_m: 2.2 }));
        assert!((person.keypoints[0].x - 1.4 / 6.0).abs() < 1e-3);
    }
}
