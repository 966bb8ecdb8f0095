//! Positions on the floor of people in a camera's pictures, so that zones in metres hold for them.
//!
//! A person stands below the ankles, or else at the lower edge of the box. Four points of the floor, whose places
//! in the picture are known, map every other one.
//!
//! Source: R. Drillis and R. Contini, "Body segment parameters", 1966 (the height of ankles).

mod homography;

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use schemas::{Person, PoseFrame, RecordKind, SitePosition, Tick};
use serde::Deserialize;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::place_on_floor::homography::Homography;
use crate::settings::{Outputs, Settings};

/// COCO's numbers of the ankles.
const ANKLES: [usize; 2] = [15, 16];
/// Height of the ankles above the floor, in heights of a person.
const ANKLE_HEIGHT: f64 = 0.039;
/// Ankles that are less certain do not count.
const MIN_CONFIDENCE: f32 = 0.3;
/// A point may be a little outside of the picture.
const SHARES: RangeInclusive<f64> = -1.0..=2.0;
/// Positions are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f64 = 1e3;

/// A point of the floor, in the picture and on the site plan.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorPoint {
    /// Share of the picture's width, from the left.
    pub x: f64,
    /// Share of the picture's height, from the top.
    pub y: f64,
    /// Along the plan's x axis, in metres.
    pub x_m: f64,
    /// Along the plan's y axis, in metres.
    pub y_m: f64,
}

/// Settings of the `place_on_floor` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOnFloorConfig {
    /// Four points of the floor, no three of them in a line, such as the corners of a carpet. `x` and `y` are shares
    /// of the picture's width and height, from the left and from the top: `{ x = 0.31, y = 0.42, x_m = 0.0, y_m = 4.0 }`.
    #[schemars(length(equal = 4))]
    pub points: Vec<FloorPoint>,
}

impl PlaceOnFloorConfig {
    /// Returns the homography of the points, or the error that the plan reports.
    fn homography(&self) -> Result<Homography, String> {
        let points: &[FloorPoint; 4] = self
            .points
            .as_array()
            .ok_or_else(|| format!("points: expected four points, not {}", self.points.len()))?;
        let sides = points.iter().flat_map(|at| [at.x, at.y]);
        if let Some(far) = sides.into_iter().find(|side| !SHARES.contains(side)) {
            return Err(format!(
                "points: x and y are shares of the picture's width and height, from 0 to 1, not {far}"
            ));
        }
        let pairs = points.map(|at| ([at.x, at.y], [at.x_m, at.y_m]));
        let floor = Homography::of(&pairs)
            .ok_or("points: three of the points are in a line, in the picture or on the plan")?;
        if pairs.iter().any(|(picture, _)| floor.apply(*picture).is_none()) {
            return Err("points: they are in another order in the picture than on the plan".into());
        }
        Ok(floor)
    }
}

impl Settings for PlaceOnFloorConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Pose)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        self.homography().err().into_iter().collect()
    }

    fn state_shape(&self) -> Option<String> {
        None
    }
}

/// Positions on the floor on streams of poses.
pub trait PlaceOnFloor {
    /// Gives each person a position on the site plan; people beyond the horizon have none.
    ///
    /// ```
    /// use operators::{PlaceOnFloor, PlaceOnFloorConfig};
    /// use schemas::{BoundingBox, Person, PoseFrame};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// // A camera on the ceiling: the picture is the plan of a room of 4 by 3 metres.
    /// let config: PlaceOnFloorConfig = serde_json::from_str(r#"{ "points": [
    ///     { "x": 0, "y": 0, "x_m": 0, "y_m": 0 }, { "x": 1, "y": 0, "x_m": 4, "y_m": 0 },
    ///     { "x": 1, "y": 1, "x_m": 4, "y_m": 3 }, { "x": 0, "y": 1, "x_m": 0, "y_m": 3 }
    /// ] }"#)?;
    /// let bounding_box = BoundingBox { x: 0.25, y: 0.0, width: 0.5, height: 0.5 };
    /// let persons = vec![Person { bounding_box, ..Person::default() }];
    /// let (to, places) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![PoseFrame { persons, ..PoseFrame::default() }];
    ///     let frames = frames.to_stream(scope).container::<Vec<_>>();
    ///     let placed = frames.place_on_floor(&config);
    ///     placed.inspect(move |frame| to.send(frame.persons[0].position).unwrap());
    /// });
    /// let place = places.iter().next().flatten().expect("a place");
    /// assert_eq!((place.x_m, place.y_m), (2.0, 1.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn place_on_floor(self, config: &PlaceOnFloorConfig) -> Self;
}

impl PlaceOnFloor for StreamVec<'_, Tick, PoseFrame> {
    fn place_on_floor(self, config: &PlaceOnFloorConfig) -> Self {
        // The plan has checked the points.
        let homography = config.homography().ok();
        self.map(move |mut frame| {
            for person in &mut frame.persons {
                person.position = homography.and_then(|floor| position(&floor, person));
            }
            frame
        })
    }
}

fn position(floor: &Homography, person: &Person) -> Option<SitePosition> {
    let [x_m, y_m] = floor.apply(foot(person))?.map(|side| (side * ROUNDING).round() / ROUNDING);
    Some(SitePosition { x_m: x_m as f32, y_m: y_m as f32 })
}

/// Returns where a person touches the floor, in shares of the picture.
fn foot(person: &Person) -> [f64; 2] {
    let ankles = ANKLES.iter().filter_map(|nth| person.keypoints.get(*nth));
    let ankles: Vec<_> = ankles.filter(|at| at.confidence >= MIN_CONFIDENCE).collect();
    let bounds = person.bounding_box;
    let height = f64::from(bounds.height);
    if ankles.is_empty() {
        let middle = f64::from(bounds.x) + f64::from(bounds.width) / 2.0;
        return [middle, f64::from(bounds.y) + height];
    }
    let mean = |side: &dyn Fn(&schemas::Keypoint) -> f32| {
        ankles.iter().map(|at| f64::from(side(at))).sum::<f64>() / ankles.len() as f64
    };
    [mean(&|at| at.x), mean(&|at| at.y) + ANKLE_HEIGHT * height]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: [[f64; 4]; 4] =
        [[0.1, 0.7, 0.0, 0.0], [0.9, 0.7, 4.0, 0.0], [0.7, 0.4, 4.0, 5.0], [0.3, 0.4, 0.0, 5.0]];

    fn problems(points: &[[f64; 4]]) -> Vec<String> {
        let point = |[x, y, x_m, y_m]: [f64; 4]| FloorPoint { x, y, x_m, y_m };
        PlaceOnFloorConfig { points: points.iter().copied().map(point).collect() }.problems()
    }

    #[test]
    fn wrong_points_are_reported() {
        assert_eq!(problems(&ROOM), Vec::<String>::new());
        let mut in_pixels = ROOM;
        in_pixels[0][0] = 64.0;
        let mut crossed = ROOM;
        (crossed[0][2], crossed[1][2]) = (4.0, 0.0);
        for (points, expected) in [
            (&ROOM[..3], "expected four points, not 3"),
            (&[ROOM[0]; 5][..], "expected four points, not 5"),
            (&in_pixels, "from 0 to 1, not 64"),
            (&[ROOM[0]; 4], "in a line"),
            (&crossed, "another order"),
        ] {
            let problems = problems(points);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        }
    }
}
