//! The part of a picture that MoveNet sees of a person.

use crate::pictures::{Axis, Border, sample};
use crate::pose_estimator::Subject;

/// The part of a picture is this much larger than the person, and beyond `VISIBLE` times the person it is grey.
const MARGIN: f32 = 1.15;
const VISIBLE: f32 = 1.05;
const GREY: f32 = 114.0;

/// The square of a picture that the network sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Pixels of the picture per cell.
    pub(super) cell_px: f32,
    /// The cells that the person reaches: first and last column, first and last row.
    person: [f32; 4],
}

impl Part {
    /// Writes the square, from -1 to 1.
    pub(super) fn write(subject: &Subject<'_>, side: usize, output: &mut [f32]) -> Self {
        let rectangle = subject.rectangle;
        let square = rectangle.with_aspect(1.0, MARGIN);
        let scale = square.width / side as f32;
        let axis = |start: f32| Axis { len: side, offset: start, scale };
        let border = Border::Constant(GREY);
        sample(subject.picture, axis(square.y), axis(square.x), border, output);
        let visible = rectangle.with_aspect(rectangle.width / rectangle.height, VISIBLE);
        let inside = |nth: usize, start: f32, from: f32, len: f32| {
            let place = start + nth as f32 * scale;
            (from..=from + len).contains(&place)
        };
        for (row, line) in output.chunks_exact_mut(side * 3).enumerate() {
            let row_inside = inside(row, square.y, visible.y, visible.height);
            for (column, pixel) in line.chunks_exact_mut(3).enumerate() {
                let visible = row_inside && inside(column, square.x, visible.x, visible.width);
                for value in pixel {
                    *value = if visible { *value } else { GREY } / 127.5 - 1.0;
                }
            }
        }
        let cell_px = scale * 4.0;
        let cell = |place: f32, start: f32| (place - start) / cell_px;
        let person = [
            cell(rectangle.x, square.x),
            cell(rectangle.x + rectangle.width, square.x),
            cell(rectangle.y, square.y),
            cell(rectangle.y + rectangle.height, square.y),
        ];
        Self { x: square.x, y: square.y, cell_px, person }
    }

    pub(super) fn holds(&self, row: usize, column: usize) -> bool {
        let [left, right, top, bottom] = self.person;
        let (row, column) = (row as f32, column as f32);
        (left..=right).contains(&column) && (top..=bottom).contains(&row)
    }
}
