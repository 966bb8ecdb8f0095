//! Conversion of the network's output to people, and back for training.

use schemas::{BoundingBox, KEYPOINT_NAMES, Keypoint, N_KEYPOINTS, Person, SitePosition};

use crate::infer::layout::InputLayout;
use crate::infer::network::OUTPUTS;

/// The least presence of a cell that contains a person.
const MIN_PRESENCE: f32 = 0.35;
/// Two peaks nearer than this are one person.
const MIN_DISTANCE_M: f32 = 0.5;
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

/// Returns the people in one output, `[outputs, rows, columns]`, strongest first.
pub(super) fn decode(layout: &InputLayout, output: &[f32]) -> Vec<Detection> {
    let n_cells = layout.n_cells();
    let presence = &output[..n_cells.min(output.len())];
    let mut peaks: Vec<_> = (0..presence.len())
        .map(|cell| (sigmoid(presence[cell]), cell))
        .filter(|(presence, cell)| *presence >= MIN_PRESENCE && is_peak(layout, output, *cell))
        .collect();
    peaks.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut detections = Vec::<Detection>::new();
    for (presence, cell) in peaks {
        let detection = read_cell(layout, output, presence, cell);
        let [x, y] = detection.position_m;
        let near = |other: &Detection| {
            (x - other.position_m[0]).hypot(y - other.position_m[1]) < MIN_DISTANCE_M
        };
        if !detections.iter().any(near) && detections.len() < MAX_PERSONS {
            detections.push(detection);
        }
    }
    detections
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
        let mut found = decode(&layout, &output);
        found.sort_by(|a, b| a.position_m[0].total_cmp(&b.position_m[0]));
        assert_eq!(found.len(), 2);
        for (found, subject) in found.iter().zip(subjects) {
            for axis in 0..2 {
                assert!((found.position_m[axis] - subject.position_m[axis]).abs() < 1e-4);
            }
            assert_eq!(found.keypoints_m, subject.keypoints_m);
        }
        let person = found[0].person(0, &layout);
        assert_eq!(person.position, Some(SitePosition { x_m: 1.3, y_m: 2.2 }));
        assert!((person.keypoints[0].x - 1.4 / 6.0).abs() < 1e-3);
    }
}
