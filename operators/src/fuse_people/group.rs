//! Groups the detections of several estimators by person.

use std::collections::BTreeMap;

use schemas::{Person, SitePosition};

use crate::assignment::assign;
use crate::fuse_people::{EstimatorKey, MAX_PEOPLE, Newest};

/// Lengths are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f32 = 1e3;
/// Weight of a detection without confidence, so that a mean exists.
const LEAST_WEIGHT: f32 = 1e-3;

/// The detections of one person, of at most one for each estimator.
struct Group<'a> {
    detections: Vec<&'a Person>,
    /// The detection that has the keypoints.
    shown: Option<&'a Person>,
}

/// Returns the people whom the newest frames of the estimators show, and how many more there are than `MAX_PEOPLE`.
///
/// Detections within `max_distance_m` of each other can be one person. Of all assignments, the one with the least
/// total distance counts, in which a detection that stays alone counts as `max_distance_m`.
pub(super) fn group(
    newest: &BTreeMap<EstimatorKey, Newest>,
    max_distance_m: f32,
) -> (Vec<Person>, usize) {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut n_left_out = 0;
    for ((is_other, _), Newest { frame, .. }) in newest {
        let n_groups = groups.len();
        let costs = costs(&groups, &frame.persons, max_distance_m);
        let assigned = assign(&costs, frame.persons.len(), n_groups + frame.persons.len());
        for (person, group) in frame.persons.iter().zip(assigned) {
            let shown = (!is_other).then_some(person);
            match group.filter(|nth| *nth < n_groups) {
                Some(nth) => groups[nth].add(person, shown),
                None if groups.len() < MAX_PEOPLE => {
                    groups.push(Group { detections: vec![person], shown });
                }
                None => n_left_out += 1,
            }
        }
    }
    (groups.iter().enumerate().map(|(nth, group)| group.person(nth)).collect(), n_left_out)
}

/// Returns the distances of people (rows) to groups (columns), infinite beyond `max_distance_m`, and a column for each
/// person to stay alone.
fn costs(groups: &[Group<'_>], persons: &[Person], max_distance_m: f32) -> Vec<f64> {
    let places: Vec<_> = groups.iter().map(Group::position).collect();
    let mut costs = Vec::with_capacity(persons.len() * (groups.len() + persons.len()));
    for person in persons {
        let at = person.position.unwrap_or_default();
        costs.extend(places.iter().map(|place| {
            let distance_m = (place.x_m - at.x_m).hypot(place.y_m - at.y_m);
            if distance_m <= max_distance_m { f64::from(distance_m) } else { f64::INFINITY }
        }));
        costs.extend(std::iter::repeat_n(f64::from(max_distance_m), persons.len()));
    }
    costs
}

impl<'a> Group<'a> {
    fn add(&mut self, person: &'a Person, shown: Option<&'a Person>) {
        self.detections.push(person);
        let confidence = |person: Option<&Person>| person.map(confidence);
        if confidence(shown) > confidence(self.shown) {
            self.shown = shown;
        }
    }

    /// Returns the mean position, weighted by confidence.
    fn position(&self) -> SitePosition {
        let weights = || self.detections.iter().map(|it| confidence(it).max(LEAST_WEIGHT));
        let total: f32 = weights().sum();
        let mean = |side: fn(SitePosition) -> f32| {
            let sides = self.detections.iter().map(|it| side(it.position.unwrap_or_default()));
            let sum: f32 = sides.zip(weights()).map(|(side, weight)| side * weight).sum();
            round(sum / total)
        };
        SitePosition { x_m: mean(|at| at.x_m), y_m: mean(|at| at.y_m) }
    }

    fn person(&self, nth: usize) -> Person {
        let wrong: f32 = self.detections.iter().map(|it| 1.0 - confidence(it)).product();
        Person {
            id: nth.to_string(),
            keypoints: self.shown.map(|it| it.keypoints.clone()).unwrap_or_default(),
            bounding_box: self.shown.map(|it| it.bounding_box).unwrap_or_default(),
            confidence: round(1.0 - wrong),
            position: Some(self.position()),
            zone: None,
            activity: None,
        }
    }
}

/// Returns the confidence of a person, from 0 to 1.
fn confidence(person: &Person) -> f32 {
    if person.confidence.is_nan() { 0.0 } else { person.confidence.clamp(0.0, 1.0) }
}

fn round(value: f32) -> f32 {
    (value * ROUNDING).round() / ROUNDING
}
