//! People on a picture: skeletons, boxes, ids, zones and activities.

use schemas::{Keypoint, Person, stable_hash};

use crate::video_overlay::canvas::{Canvas, Colour};

/// Colours that people with colour blindness can tell apart (Okabe and Ito, 2008).
const COLOURS: [Colour; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];
/// Pairs of COCO keypoints that are bones.
const BONES: [(usize, usize); 18] = [
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (0, 5),
    (0, 6),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
];
/// Keypoints that are less certain are not drawn.
const MIN_CONFIDENCE: f32 = 0.2;
/// The height of a picture in which a line is one pixel thick.
const LINE_HEIGHT: f32 = 300.0;

/// Draws people, in the order of their ids.
pub(super) fn draw_people(canvas: &mut Canvas, persons: &[Person]) {
    let [_, height] = canvas.size();
    let thickness = (height / LINE_HEIGHT).max(1.0);
    for person in persons {
        draw_person(canvas, person, thickness);
    }
}

fn draw_person(canvas: &mut Canvas, person: &Person, thickness: f32) {
    let [width, height] = canvas.size();
    let colour = colour_of(&person.id);
    let bounds = person.bounding_box;
    let (left, top) = (bounds.x * width, bounds.y * height);
    let (right, bottom) = (left + bounds.width * width, top + bounds.height * height);
    canvas.rectangle([left, top, right, bottom], thickness, colour);
    let place = |at: &Keypoint| [at.x * width, at.y * height];
    let certain = |nth: usize| {
        person.keypoints.get(nth).filter(|at| at.confidence >= MIN_CONFIDENCE).map(place)
    };
    for (from, to) in BONES {
        if let (Some(from), Some(to)) = (certain(from), certain(to)) {
            canvas.line(from, to, 1.5 * thickness, colour);
        }
    }
    for nth in 0..person.keypoints.len() {
        if let Some(at) = certain(nth) {
            canvas.disc(at, 1.6 * thickness, colour);
        }
    }
    canvas.label([left, top], (9.0 * thickness).max(11.0), &label(person), colour);
}

fn label(person: &Person) -> String {
    let activity = person.activity.map(|activity| activity.as_str().to_owned());
    let parts = [Some(person.id.clone()), person.zone.clone(), activity];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The same person has the same colour in all pictures.
fn colour_of(id: &str) -> Colour {
    let number = id.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>();
    let nth = number.unwrap_or_else(|_| stable_hash(&[id]));
    COLOURS[(nth % COLOURS.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ids_have_different_colours() {
        assert_ne!(colour_of("p1"), colour_of("p2"));
        assert_eq!(colour_of("p1"), colour_of("p8"));
    }

    #[test]
    fn people_without_certain_keypoints_have_a_box() {
        let mut canvas = Canvas::new(100, 100, vec![0; 30_000]);
        let bounding_box = schemas::BoundingBox { x: 0.2, y: 0.4, width: 0.4, height: 0.5 };
        let person = Person { id: "p1".to_owned(), bounding_box, ..Person::default() };
        draw_people(&mut canvas, &[person]);
        let drawn = |x: usize, y: usize| canvas.pixels()[(y * 100 + x) * 3] > 0;
        assert!(drawn(20, 60) && drawn(59, 60) && drawn(40, 89));
        assert!(!drawn(40, 60));
    }
}
