//! The tracker of a source, in either plane.

use schemas::{BoundingBox, Person};
use serde::{Deserialize, Serialize};

use crate::track::floor::FloorTracker;
use crate::track::image::{BoxDetection, ImageTracker, TrackedBox};
use crate::track::{Plane, TrackConfig};

const NS_PER_S: f64 = 1e9;
/// Shares of the picture are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f64 = 1e5;

/// The tracks of one site and source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PeopleTracker {
    Floor(FloorTracker),
    Image(ImagePeople),
}

impl PeopleTracker {
    pub(super) fn new(plane: Plane) -> Self {
        match plane {
            Plane::Floor => Self::Floor(FloorTracker::default()),
            Plane::Image => Self::Image(ImagePeople::default()),
        }
    }

    /// Returns the people to show at `now_ns`, ordered by age.
    pub(super) fn update(
        &mut self,
        now_ns: i64,
        found: Vec<Person>,
        config: &TrackConfig,
    ) -> Vec<Person> {
        match self {
            Self::Floor(tracker) => tracker.update(now_ns, found, &config.floor()),
            Self::Image(people) => people.update(now_ns, &found, config),
        }
    }
}

/// True for a person with a finite box with an area.
pub(super) fn has_box(person: &Person) -> bool {
    let BoundingBox { x, y, width, height } = person.bounding_box;
    [x, y, width, height].iter().all(|side| side.is_finite()) && width > 0.0 && height > 0.0
}

/// The tracks in the pictures of a camera, with the people as last seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ImagePeople {
    tracker: ImageTracker,
    updated_at_ns: Option<i64>,
    /// The people of the tracks that were shown last.
    shown: Vec<Person>,
}

impl ImagePeople {
    fn update(&mut self, now_ns: i64, found: &[Person], config: &TrackConfig) -> Vec<Person> {
        let elapsed_ns = now_ns.saturating_sub(self.updated_at_ns.unwrap_or(now_ns)).max(0);
        self.updated_at_ns = Some(now_ns);
        let keypoints: Vec<_> = found.iter().map(keypoints).collect();
        let detections: Vec<_> = found
            .iter()
            .zip(&keypoints)
            .map(|(person, keypoints)| BoxDetection {
                bbox: corners(person.bounding_box),
                score: f64::from(person.confidence),
                keypoints: keypoints.as_ref(),
            })
            .collect();
        self.tracker.configure(config.image());
        self.tracker.step(elapsed_ns as f64 / NS_PER_S, &detections);
        let shown: Vec<_> =
            self.tracker.boxes().filter_map(|tracked| self.person(tracked, found)).collect();
        self.shown = shown;
        self.shown.clone()
    }

    /// Returns the person of a track: as found in this frame, or else as shown in the last one.
    fn person(&self, tracked: TrackedBox, found: &[Person]) -> Option<Person> {
        let id = format!("p{}", tracked.id);
        let person = match tracked.detection {
            Some(index) => found.get(index),
            None => self.shown.iter().find(|person| person.id == id),
        };
        let [x, y, width, height] =
            tracked.bbox.map(|side| ((side * ROUNDING).round() / ROUNDING) as f32);
        let bounding_box = BoundingBox { x, y, width, height };
        Some(Person { id, bounding_box, ..person?.clone() })
    }
}

fn corners(bounding_box: BoundingBox) -> [f64; 4] {
    let BoundingBox { x, y, width, height } = bounding_box;
    [x, y, width, height].map(f64::from)
}

/// Returns x, y and confidence of all keypoints, if the person has all of them.
fn keypoints(person: &Person) -> Option<[[f64; 3]; schemas::N_KEYPOINTS]> {
    let values = person.keypoints.iter();
    let values: Vec<_> = values.map(|at| [at.x, at.y, at.confidence].map(f64::from)).collect();
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TrackConfig {
        serde_json::from_str(r#"{ "plane": "image" }"#).expect("a setting")
    }

    fn person(x: f32) -> Person {
        let bounding_box = BoundingBox { x, y: 0.2, width: 0.1, height: 0.5 };
        Person { bounding_box, confidence: 0.9, ..Person::default() }
    }

    fn ids(persons: &[Person]) -> Vec<&str> {
        persons.iter().map(|person| person.id.as_str()).collect()
    }

    #[test]
    fn people_in_pictures_keep_their_ids() {
        let mut tracker = PeopleTracker::new(Plane::Image);
        let mut at = |nth: i64, found| tracker.update(nth * 40_000_000, found, &config());
        assert_eq!(ids(&at(0, vec![person(0.1), person(0.6)])), ["p1", "p2"]);
        assert_eq!(ids(&at(1, vec![person(0.61), person(0.11)])), ["p1", "p2"]);
        let missed = at(2, vec![person(0.12)]);
        assert_eq!(ids(&missed), ["p1", "p2"], "shown for a frame without a detection");
        assert!((missed[1].bounding_box.x - 0.62).abs() < 0.01, "{missed:?}");
        assert_eq!(ids(&at(3, vec![person(0.13)])), ["p1"]);
        assert_eq!(ids(&at(4, vec![person(0.14), person(0.64)])), ["p1", "p2"]);
    }

    #[test]
    fn state_that_is_saved_goes_on_as_if_it_were_not() {
        let frames: Vec<Vec<_>> =
            (0..20).map(|nth| vec![person(0.1 + 0.01 * nth as f32), person(0.7)]).collect();
        let run = |saved_at: Option<i32>| {
            let mut tracker = PeopleTracker::new(Plane::Image);
            let mut shown = Vec::new();
            for (frame, nth) in frames.iter().zip(0..) {
                if saved_at == Some(nth) {
                    let bytes = postcard::to_allocvec(&tracker).expect("it can be saved");
                    tracker = postcard::from_bytes(&bytes).expect("it can be restored");
                }
                shown.push(tracker.update(i64::from(nth) * 40_000_000, frame.clone(), &config()));
            }
            shown
        };
        for saved_at in 0..20 {
            assert_eq!(run(Some(saved_at)), run(None), "saved before frame {saved_at}");
        }
    }
}
