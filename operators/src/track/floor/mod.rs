//! Tracking on the floor: the tracks of the people of one source, by their positions in metres.

mod kalman;

use schemas::{BoundingBox, Person, SitePosition};
use serde::{Deserialize, Serialize};

use crate::assignment::assign;
use crate::track::floor::kalman::Kalman;
use crate::track::{FloorTrackOptions, MAX_TRACKS};

const NS_PER_S: f64 = 1e9;
/// The longest time between two frames that counts as time with or without a person.
const MAX_STEP_NS: i64 = 1_000_000_000;
/// Weight of the newest keypoints in the shown ones.
const KEYPOINT_GAIN: f32 = 0.5;
/// Share of the confidence that is left after a second without the person.
const CONFIDENCE_LEFT: f32 = 0.35;
/// Lengths are rounded, so that they do not depend on how a processor sums.
const ROUNDING: f32 = 1e3;
/// Cost of a difference of heights as large as the view, as a distance.
const POSE_WEIGHT_M: f32 = 0.5;
/// Two people within this distance can be detected as one person, for at most this time.
const MERGED_M: f32 = 0.9;
const MAX_MERGED_NS: u64 = 6_000_000_000;
/// Cost of a merged track, as a distance, so that two tracks do not alternate on one person.
const MERGED_COST_M: f32 = 0.5;
/// The speed at which a person can move away from the end of a track.
const WALKING_M_S: f32 = 1.0;

/// The tracks of one site and source.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::track) struct FloorTracker {
    /// The oldest first.
    tracks: Vec<Tracked>,
    /// Ended tracks; a person who returns gets the id of one.
    ended: Vec<Ended>,
    /// Number of ids so far.
    n_ids: u64,
    updated_at_ns: Option<i64>,
}

/// One track.
#[derive(Debug, Serialize, Deserialize)]
struct Tracked {
    kalman: Kalman,
    /// The person as last shown, with an id once the track is confirmed.
    person: Person,
    is_confirmed: bool,
    /// Time with the person minus time without, until the track is confirmed.
    seen_for_ns: i64,
    began_at_ns: i64,
    /// Time and position of the last frame with the person.
    seen_at_ns: i64,
    seen_position_m: [f32; 2],
    /// The latest time at which this person and another one were detected as one person.
    merged_at_ns: Option<i64>,
}

/// The end of a track.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    id: String,
    position_m: [f32; 2],
    seen_at_ns: i64,
}

impl FloorTracker {
    /// Returns the people to show at `now_ns`, ordered by age.
    pub(in crate::track) fn update(
        &mut self,
        now_ns: i64,
        found: Vec<Person>,
        config: &FloorTrackOptions,
    ) -> Vec<Person> {
        let elapsed_ns = now_ns.saturating_sub(self.updated_at_ns.unwrap_or(now_ns)).max(0);
        self.updated_at_ns = Some(now_ns);
        for track in &mut self.tracks {
            track.kalman.predict(elapsed_ns as f64 / NS_PER_S);
        }
        let places: Vec<_> = found.iter().map(position_m).collect();
        let mut found: Vec<_> = found.into_iter().map(Some).collect();
        let step_ns = elapsed_ns.min(MAX_STEP_NS);
        // The people of confirmed tracks do not begin new ones.
        let confirmed = self.see(true, now_ns, step_ns, &mut found, config);
        self.see(false, now_ns, step_ns, &mut found, config);
        let taken: Vec<_> = confirmed.into_iter().map(|person| places[person]).collect();
        self.coast(now_ns, step_ns, &taken);
        self.end(now_ns, config);
        self.confirm(now_ns, config);
        let rest = found.into_iter().flatten();
        self.begin(now_ns, rest.filter(|person| person.confidence >= config.min_confidence));
        self.tracks.iter().filter(|track| track.is_confirmed).map(|it| it.person.clone()).collect()
    }

    /// Assigns people to the tracks that are confirmed or not. Returns the assigned people.
    fn see(
        &mut self,
        is_confirmed: bool,
        now_ns: i64,
        step_ns: i64,
        found: &mut [Option<Person>],
        config: &FloorTrackOptions,
    ) -> Vec<usize> {
        let tracks = self.tracks.iter_mut().filter(|track| track.is_confirmed == is_confirmed);
        let mut tracks: Vec<_> = tracks.collect();
        let longest_m = f64::from(config.max_distance_m + POSE_WEIGHT_M + MERGED_COST_M);
        // Each track may stay without a person, at the cost of the longest distance.
        let (n_tracks, n_persons) = (tracks.len(), found.len());
        let mut costs = Vec::with_capacity(n_tracks * (n_persons + n_tracks));
        for track in &tracks {
            costs.extend(found.iter().map(|person| {
                let cost = person.as_ref().map(|person| track.cost(person, config));
                cost.map(f64::from).filter(|cost| *cost <= longest_m).unwrap_or(f64::INFINITY)
            }));
            costs.extend(std::iter::repeat_n(longest_m, n_tracks));
        }
        let assigned = assign(&costs, n_tracks, n_persons + n_tracks);
        let mut taken = Vec::new();
        for (track, nth) in tracks.iter_mut().zip(assigned) {
            let Some(nth) = nth.filter(|nth| *nth < n_persons) else { continue };
            if let Some(person) = found[nth].take() {
                let is_sure = person.confidence >= config.min_confidence;
                track.see(now_ns, if is_sure { step_ns } else { -step_ns }, person);
                taken.push(nth);
            }
        }
        taken
    }

    /// Updates the tracks without a person in this frame: they follow a near person, or coast.
    fn coast(&mut self, now_ns: i64, step_ns: i64, taken: &[[f32; 2]]) {
        for track in self.tracks.iter_mut().filter(|track| track.seen_at_ns != now_ns) {
            let at_m = track.kalman.position_m();
            let near = taken.iter().map(|place| (distance_m(*place, at_m), place));
            let nearest = near.min_by(|a, b| a.0.total_cmp(&b.0));
            match nearest.filter(|(distance_m, _)| track.is_confirmed && *distance_m < MERGED_M) {
                Some((_, place)) => track.merge(now_ns, *place),
                None => track.miss(step_ns),
            }
            track.show_position();
        }
    }

    /// Ends the tracks whose people have not been there for too long.
    fn end(&mut self, now_ns: i64, config: &FloorTrackOptions) {
        let (kept, ended): (Vec<_>, Vec<_>) =
            self.tracks.drain(..).partition(|track| track.lives(now_ns, config));
        self.tracks = kept;
        let confirmed = ended.into_iter().filter(|track| track.is_confirmed);
        self.ended.extend(confirmed.map(|track| Ended {
            position_m: track.seen_position_m,
            id: track.person.id,
            seen_at_ns: track.seen_at_ns,
        }));
        let longest_ns = config.reidentify_within.as_ns().unsigned_abs();
        self.ended.retain(|ended| !ended.id.is_empty());
        self.ended.retain(|ended| now_ns.abs_diff(ended.seen_at_ns) <= longest_ns);
        let n_surplus = self.ended.len().saturating_sub(MAX_TRACKS);
        self.ended.drain(..n_surplus);
    }

    /// Confirms the tracks whose people have been there for long enough, and gives them ids.
    fn confirm(&mut self, now_ns: i64, config: &FloorTrackOptions) {
        for nth in 0..self.tracks.len() {
            let track = &self.tracks[nth];
            if track.is_confirmed || track.seen_for_ns < config.confirm.as_ns() {
                continue;
            }
            let earlier = self.earlier_id(nth, now_ns, config);
            let id = earlier.unwrap_or_else(|| {
                self.n_ids = self.n_ids.saturating_add(1);
                format!("p{}", self.n_ids)
            });
            let track = &mut self.tracks[nth];
            (track.person.id, track.is_confirmed) = (id, true);
        }
        self.tracks.retain(|track| !track.is_confirmed || !track.person.id.is_empty());
    }

    /// Removes and returns the id of the nearest reachable track that was last seen before track `nth` began,
    /// or that is merged with another one.
    fn earlier_id(
        &mut self,
        nth: usize,
        now_ns: i64,
        config: &FloorTrackOptions,
    ) -> Option<String> {
        let Tracked { began_at_ns, kalman, .. } = &self.tracks[nth];
        let (began_at_ns, at_m) = (*began_at_ns, kalman.position_m());
        let unseen = self.tracks.iter_mut().filter(|track| track.is_confirmed);
        let unseen = unseen
            .filter(|track| track.seen_at_ns < began_at_ns || track.merged_at_ns == Some(now_ns));
        let unseen = unseen.map(|it| (it.seen_position_m, it.seen_at_ns, &mut it.person.id));
        let ended = self.ended.iter_mut();
        let ended = ended.map(|it| (it.position_m, it.seen_at_ns, &mut it.id));
        let reachable = unseen.chain(ended).filter_map(|(position_m, seen_at_ns, id)| {
            let distance_m = distance_m(position_m, at_m);
            let elapsed_s = now_ns.abs_diff(seen_at_ns) as f64 / NS_PER_S;
            let reach_m = config.max_distance_m + WALKING_M_S * elapsed_s as f32;
            (distance_m <= reach_m && !id.is_empty()).then_some((distance_m, id))
        });
        let (_, id) = reachable.min_by(|a, b| a.0.total_cmp(&b.0))?;
        // The caller removes tracks without an id.
        Some(std::mem::take(id))
    }

    /// Begins a track for each unassigned person.
    fn begin(&mut self, now_ns: i64, found: impl Iterator<Item = Person>) {
        let room = MAX_TRACKS.saturating_sub(self.tracks.len());
        self.tracks.extend(found.take(room).map(|person| Tracked::new(now_ns, person)));
    }
}

impl Tracked {
    fn new(now_ns: i64, person: Person) -> Self {
        let seen_position_m = position_m(&person);
        Self {
            kalman: Kalman::at(seen_position_m),
            person: Person { id: String::new(), ..person },
            is_confirmed: false,
            seen_for_ns: 0,
            began_at_ns: now_ns,
            seen_at_ns: now_ns,
            seen_position_m,
            merged_at_ns: None,
        }
    }

    /// Returns how far a person is from the track in position and pose; infinity beyond the greatest distance.
    fn cost(&self, person: &Person, config: &FloorTrackOptions) -> f32 {
        let distance_m = distance_m(self.kalman.position_m(), position_m(person));
        if distance_m > config.max_distance_m {
            return f32::INFINITY;
        }
        let heights = [&self.person, person].map(|person| person.bounding_box.height);
        let is_merged =
            self.merged_at_ns.is_some_and(|merged_at_ns| merged_at_ns > self.seen_at_ns);
        let merged_m = if is_merged { MERGED_COST_M } else { 0.0 };
        distance_m + merged_m + POSE_WEIGHT_M * (heights[0] - heights[1]).abs().min(1.0)
    }

    /// Updates the track with the position of the person, and smooths the keypoints. `step_ns` counts for the
    /// confirmation, and is negative if the person is not sure to be there.
    fn see(&mut self, now_ns: i64, step_ns: i64, seen: Person) {
        self.kalman.update(position_m(&seen));
        let mut keypoints = seen.keypoints;
        for (keypoint, shown) in keypoints.iter_mut().zip(&self.person.keypoints) {
            keypoint.x = round(shown.x + KEYPOINT_GAIN * (keypoint.x - shown.x));
            keypoint.y = round(shown.y + KEYPOINT_GAIN * (keypoint.y - shown.y));
        }
        self.person = Person {
            id: std::mem::take(&mut self.person.id),
            bounding_box: BoundingBox::around(&keypoints),
            keypoints,
            confidence: seen.confidence,
            position: None,
            zone: None,
            activity: None,
        };
        self.show_position();
        self.seen_for_ns = self.seen_for_ns.saturating_add(step_ns);
        (self.seen_at_ns, self.seen_position_m) = (now_ns, self.kalman.position_m());
    }

    /// Follows a near person, with whom this person was detected as one.
    fn merge(&mut self, now_ns: i64, place_m: [f32; 2]) {
        self.kalman.follow(place_m);
        self.merged_at_ns = Some(now_ns);
    }

    fn miss(&mut self, step_ns: i64) {
        self.seen_for_ns -= step_ns;
        let left = CONFIDENCE_LEFT.powf(step_ns as f32 / NS_PER_S as f32);
        self.person.confidence = round(self.person.confidence * left);
    }

    fn show_position(&mut self) {
        let [x_m, y_m] = self.kalman.position_m().map(round);
        self.person.position = Some(SitePosition { x_m, y_m });
    }

    /// True for an unconfirmed track while the time with the person exceeds the time without, and for a
    /// confirmed one until `max_age` after the last frame with the person, or with a person merged with it.
    fn lives(&self, now_ns: i64, config: &FloorTrackOptions) -> bool {
        if !self.is_confirmed {
            return self.seen_for_ns >= 0;
        }
        // A time far in the future is as old as one far in the past.
        let is_recent =
            |at_ns: i64| now_ns.abs_diff(at_ns) <= config.max_age.as_ns().unsigned_abs();
        let is_merged = self.merged_at_ns.is_some_and(is_recent);
        is_recent(self.seen_at_ns) || is_merged && now_ns.abs_diff(self.seen_at_ns) <= MAX_MERGED_NS
    }
}

fn position_m(person: &Person) -> [f32; 2] {
    let at = person.position.unwrap_or_default();
    [at.x_m, at.y_m]
}

fn distance_m(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn round(value: f32) -> f32 {
    (value * ROUNDING).round() / ROUNDING
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::{Keypoint, TimeSpan};

    use super::*;
    use crate::testing::any_time_ns;

    const CONFIG: FloorTrackOptions = FloorTrackOptions {
        max_distance_m: 1.0,
        confirm: TimeSpan::from_ms(100),
        max_age: TimeSpan::from_ms(500),
        reidentify_within: TimeSpan::from_ms(2000),
        min_confidence: 0.5,
    };

    fn at(x_m: f32, y_m: f32) -> Person {
        let position = Some(SitePosition { x_m, y_m });
        Person { position, confidence: 1.0, ..Person::default() }
    }

    /// The ids shown at each moment, ten moments a second, for the positions of people.
    fn ids(moments: &[&[[f32; 2]]]) -> Vec<Vec<String>> {
        let mut tracker = FloorTracker::default();
        let moments = moments.iter().zip(0_i64..).map(|(places, nth)| {
            let persons = places.iter().map(|[x_m, y_m]| at(*x_m, *y_m));
            let shown = tracker.update(nth * 100_000_000, persons.collect(), &CONFIG);
            shown.into_iter().map(|person| person.id).collect()
        });
        moments.collect()
    }

    #[test]
    fn ids_follow_people() {
        const NEAR: &[[f32; 2]] = &[[0.0, 0.0]];
        const FAR: &[[f32; 2]] = &[[4.0, 0.0]];
        const NOBODY: &[[f32; 2]] = &[];
        for (name, moments, expected) in [
            (
                "the order of a frame does not matter",
                vec![
                    &[[0.0, 0.0], [4.0, 0.0]][..],
                    &[[4.0, 0.1], [0.0, 0.1]],
                    &[[0.0, 0.2], [4.0, 0.2]],
                ],
                vec![vec![], vec!["p1", "p2"], vec!["p1", "p2"]],
            ),
            (
                "a glimpse is not shown and takes no id",
                vec![NEAR, NOBODY, NEAR, NEAR],
                vec![vec![], vec![], vec![], vec!["p1"]],
            ),
            (
                "someone who is missed keeps the id",
                vec![NEAR, NEAR, NOBODY, NOBODY, &[[0.1, 0.0]]],
                vec![vec![], vec!["p1"], vec!["p1"], vec!["p1"], vec!["p1"]],
            ),
            (
                "someone else far away gets another",
                vec![NEAR, NEAR, FAR, FAR],
                vec![vec![], vec!["p1"], vec!["p1"], vec!["p1", "p2"]],
            ),
        ] {
            assert_eq!(ids(&moments), expected, "{name}");
        }
    }

    #[test]
    fn who_is_not_sure_to_be_there_is_shown_only_once_it_was() {
        let mut tracker = FloorTracker::default();
        let mut n_shown = |times: std::ops::Range<i64>, confidence: f32| {
            let shown = times.map(|nth| {
                let person = Person { confidence, ..at(0.0, 0.0) };
                tracker.update(nth * 100_000_000, vec![person], &CONFIG).len()
            });
            shown.last()
        };
        assert_eq!(n_shown(0..30, 0.4), Some(0));
        assert_eq!(n_shown(30..40, 0.9), Some(1));
        assert_eq!(n_shown(40..90, 0.4), Some(1));
    }

    #[test]
    fn who_comes_back_soon_has_the_same_id() {
        for (n_away, expected) in [(12, "p1"), (30, "p2")] {
            let moments =
                [vec![&[[0.0, 0.0]][..]; 3], vec![&[]; n_away], vec![&[[0.3, 0.0]][..]; 3]];
            let shown = ids(&moments.concat());
            assert!(shown[n_away].is_empty(), "{shown:?}");
            assert_eq!(shown.last().expect("there are moments"), &[expected], "{shown:?}");
        }
    }

    #[test]
    fn people_who_look_like_one_for_a_while_stay_two() {
        let apart: &[[f32; 2]] = &[[0.0, 0.0], [0.7, 0.0]];
        let moments = [vec![apart; 5], vec![&[[0.3, 0.0]][..]; 50], vec![apart; 5]].concat();
        let shown = ids(&moments);
        assert!(shown[1..].iter().all(|ids| ids == &["p1", "p2"]), "{shown:?}");
    }

    #[test]
    fn nobody_follows_someone_else_for_good() {
        let apart: &[[f32; 2]] = &[[0.0, 0.0], [0.7, 0.0]];
        let moments = [vec![apart; 5], vec![&[[0.3, 0.0]][..]; 200]].concat();
        assert_eq!(ids(&moments).last().map(Vec::len), Some(1));
    }

    #[test]
    fn the_pose_tells_people_at_one_place_apart() {
        let with_height = |x_m: f32, height: f32| {
            let keypoint = |y: f32| Keypoint { y, ..Keypoint::default() };
            let keypoints = vec![keypoint(0.9 - height), keypoint(0.9)];
            Person { bounding_box: BoundingBox::around(&keypoints), keypoints, ..at(x_m, 0.0) }
        };
        let mut tracker = FloorTracker::default();
        for now_ns in [0, 100_000_000, 200_000_000] {
            tracker.update(now_ns, vec![with_height(0.0, 0.6), with_height(0.4, 0.1)], &CONFIG);
        }
        let shown = tracker.update(
            300_000_000,
            vec![with_height(0.19, 0.1), with_height(0.21, 0.6)],
            &CONFIG,
        );
        assert!(shown[0].id == "p1" && shown[0].bounding_box.height > 0.5, "{shown:?}");
    }

    proptest! {
        #[test]
        fn any_time_will_do(times_ns in prop::collection::vec(any_time_ns(), 1..20)) {
            let mut tracker = FloorTracker::default();
            for time_ns in times_ns {
                let shown = tracker.update(time_ns, vec![at(1.0, 0.0), at(5.0, 0.0)], &CONFIG);
                prop_assert!(shown.len() <= MAX_TRACKS);
            }
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_leaves_no_ghost() {
        let mut tracker = FloorTracker::default();
        for time_ns in [0, 100_000_000, 200_000_000, i64::MAX] {
            tracker.update(time_ns, vec![at(0.0, 0.0)], &CONFIG);
        }
        assert!(tracker.update(3, Vec::new(), &CONFIG).is_empty());
    }

    #[test]
    fn who_is_gone_is_not_shown() {
        let moments: Vec<&[[f32; 2]]> =
            [&[[0.0, 0.0]][..]; 2].into_iter().chain([&[][..]; 8]).collect();
        let shown = ids(&moments);
        assert_eq!(shown.iter().filter(|ids| !ids.is_empty()).count(), 6);
        assert!(shown[9].is_empty());
    }
}
