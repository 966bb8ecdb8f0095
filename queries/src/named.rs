//! Queries with names: the files of `sql`, which say what their parameters are.

/// The people of a time span.
pub const PERSONS_OF_SPAN: &str = include_str!("../sql/persons.sql");
/// Where a person was.
pub const PATH_OF_PERSON: &str = include_str!("../sql/path_of_person.sql");
/// How often people were in each cell of the plan.
pub const HEAT_MAP: &str = include_str!("../sql/heat_map.sql");
/// How long people did what.
pub const ACTIVITY: &str = include_str!("../sql/activity.sql");

/// How many people were in each zone.
pub const OCCUPANCY: &str = include_str!("../sql/occupancy.sql");
/// How many events there were.
pub const EVENTS: &str = include_str!("../sql/events.sql");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{
        Activity, ActivityWindow, Event, EventType, Person, PoseFrame, Record, SitePosition, Tick,
    };
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{Format, History, LiveTail, Query, Value};

    const START_NS: i64 = 1_800_000_000_000_000_000;
    const SECOND_NS: i64 = 1_000_000_000;

    /// Three seconds with two frames each. `p1` walks from the kitchen to the hall; `p2` comes after a second,
    /// and is nowhere on the plan.
    #[derive(Debug)]
    struct Recording;

    impl LiveTail for Recording {
        fn writer(&self) -> &'static str {
            "recording"
        }

        fn tables(&self) -> Vec<String> {
            vec!["poses".to_owned(), "activities".to_owned(), "events".to_owned()]
        }

        fn rows(&self, table: &str, after: Option<Tick>) -> Vec<(Tick, Record)> {
            if after.is_some() {
                return Vec::new();
            }
            let records = match table {
                "poses" => frames(),
                "events" => events(),
                _ => windows(),
            };
            records.into_iter().map(|record| (1, record)).collect()
        }
    }

    fn frames() -> Vec<Record> {
        let frames = (0..6_u8).map(|nth| {
            let zone = if nth < 4 { "kitchen" } else { "hall" };
            let walker = Person {
                id: "p1".to_owned(),
                confidence: 0.75,
                position: Some(SitePosition { x_m: f32::from(nth) * 0.5, y_m: 1.25 }),
                zone: Some(zone.to_owned()),
                activity: Some(if nth < 3 { Activity::Standing } else { Activity::Walking }),
                ..Person::default()
            };
            let other = Person { id: "p2".to_owned(), confidence: 0.25, ..Person::default() };
            let persons = if nth < 2 { vec![walker] } else { vec![walker, other] };
            Record::Pose(PoseFrame {
                site: "flat".to_owned(),
                captured_at_ns: START_NS + i64::from(nth) * SECOND_NS / 2,
                persons,
                ..PoseFrame::default()
            })
        });
        frames.collect()
    }

    fn windows() -> Vec<Record> {
        let windows = [
            ("p1", 0, Activity::Standing),
            ("p1", 1, Activity::Walking),
            ("p2", 2, Activity::Walking),
        ];
        let windows = windows.map(|(subject, second, activity)| {
            let starts_at_ns = START_NS + second * SECOND_NS;
            Record::Activity(ActivityWindow {
                subject: subject.to_owned(),
                starts_at_ns,
                ends_at_ns: starts_at_ns + SECOND_NS,
                activity,
                confidence: 0.5,
                zone: Some("kitchen".to_owned()),
                ..ActivityWindow::default()
            })
        });
        windows.to_vec()
    }

    fn events() -> Vec<Record> {
        let events = [
            ("p1", 0, EventType::EnteredZone),
            ("p2", 1, EventType::EnteredZone),
            ("p1", 2, EventType::LeftZone),
        ];
        let events = events.map(|(subject, second, event_type)| {
            Record::Event(Event {
                subject: subject.to_owned(),
                occurred_at_ns: START_NS + second * SECOND_NS,
                event_type,
                zone: Some("kitchen".to_owned()),
                ..Event::default()
            })
        });
        events.to_vec()
    }

    /// Answers a query over the whole recording; `values` replace the values that exclude nothing.
    fn answer(sql: &str, defaults: &[(&str, Value)], values: &[(&str, Value)]) -> Json {
        let folder = tempfile::tempdir().expect("room");
        let history = History::new(folder.path().to_owned().into(), Some(Arc::new(Recording)));
        let span = [("start_ns", START_NS.into()), ("end_ns", (START_NS + 10 * SECOND_NS).into())];
        let values = span.iter().chain(defaults).chain(values).cloned();
        let query = Query::new(sql, Format::Json).with_values(values);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.expect("a runtime").block_on(history.query(&query)).expect("rows");
        serde_json::from_slice(&answer.encode(Format::Json).expect("JSON")).expect("JSON")
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn persons_are_summed_up() {
        let all = [
            ("person", Value::Null),
            ("zone", Value::Null),
            ("min_confidence", 0.0.into()),
            ("before_ns", Value::Null),
            ("after", Value::Null),
        ];
        let [p1, p2] = [
            json!({
                "site": "flat", "person_id": "p1", "first_seen_ns": START_NS, "last_seen_ns": START_NS + 2_500_000_000,
                "current_zone": "hall", "average_confidence": 0.75,
                "detected_activities": ["standing", "walking"], "n_frames": 6,
            }),
            json!({
                "site": "flat", "person_id": "p2", "first_seen_ns": START_NS + SECOND_NS,
                "last_seen_ns": START_NS + 2_500_000_000, "current_zone": null,
                "average_confidence": 0.25, "detected_activities": null, "n_frames": 4,
            }),
        ];
        let persons = |values: &[_]| answer(PERSONS_OF_SPAN, &all, values);
        assert_eq!(persons(&[]), json!([p1, p2]));
        assert_eq!(persons(&[("person", text("p2"))]), json!([p2]));
        assert_eq!(persons(&[("zone", text("kitchen"))]), json!([p1]));
        assert_eq!(persons(&[("min_confidence", 0.5.into())]), json!([p1]));
        assert_eq!(persons(&[("end_ns", (START_NS + 1).into())])[0]["n_frames"], 1);
        let after =
            |person| [("before_ns", (START_NS + 2_500_000_000).into()), ("after", text(person))];
        assert_eq!(persons(&after("flat/p1")), json!([p2]));
        assert_eq!(persons(&after("flat/p2")), json!([]));
    }

    #[test]
    fn a_path_has_a_point_a_second() {
        let path = answer(PATH_OF_PERSON, &[("site", text("flat")), ("person", text("p1"))], &[]);
        let point = |second: i64, x_m: f64, zone: &str, activity: &str| {
            json!({
                "captured_at_ns": START_NS + second * SECOND_NS, "x_m": x_m, "y_m": 1.25,
                "zone_id": zone, "activity": activity,
            })
        };
        let expected = [
            point(0, 0.0, "kitchen", "standing"),
            point(1, 1.0, "kitchen", "standing"),
            point(2, 2.0, "hall", "walking"),
        ];
        assert_eq!(path, json!(expected));
    }

    #[test]
    fn a_heat_map_counts_frames_in_cells() {
        let all = [("zone", Value::Null), ("cell_m", 1.0.into())];
        let cell = |column, n_frames| json!({ "site": "flat", "column": column, "row": 1, "n_frames": n_frames, "n_persons": 1 });
        let cells = answer(HEAT_MAP, &all, &[]);
        assert_eq!(cells, json!([cell(0, 2), cell(1, 2), cell(2, 2)]));
        let cells = answer(HEAT_MAP, &all, &[("zone", text("hall")), ("cell_m", 10.0.into())]);
        assert_eq!(cells[0]["n_frames"], 2);
    }

    #[test]
    fn activities_are_summed_by_interval() {
        let all = [
            ("person", Value::Null),
            ("zone", Value::Null),
            ("interval_ns", (2 * SECOND_NS).into()),
        ];
        let interval = |second: i64, activity: &str, seconds: f64| {
            json!({
                "interval_starts_at_ns": START_NS + second * SECOND_NS, "zone_id": "kitchen",
                "activity": activity, "n_persons": 1, "seconds": seconds, "average_confidence": 0.5,
            })
        };
        let activities = |values: &[_]| answer(ACTIVITY, &all, values);
        let expected = [
            interval(0, "standing", 1.0),
            interval(0, "walking", 1.0),
            interval(2, "walking", 1.0),
        ];
        assert_eq!(activities(&[]), json!(expected));
        assert_eq!(activities(&[("person", text("p2"))]), json!([expected[2]]));
        assert_eq!(activities(&[("zone", text("hall"))]), json!([]));
    }

    #[test]
    fn people_are_counted_by_zone_and_interval() {
        let all = [("zone", Value::Null), ("interval_ns", (2 * SECOND_NS).into())];
        let interval = |second: i64, zone: &str| {
            json!({
                "interval_starts_at_ns": START_NS + second * SECOND_NS, "zone_id": zone,
                "n_persons": 1, "max_persons": 1, "average_persons_when_occupied": 1.0,
            })
        };
        let expected = [interval(0, "kitchen"), interval(2, "hall")];
        assert_eq!(answer(OCCUPANCY, &all, &[]), json!(expected));
        let hall = answer(OCCUPANCY, &all, &[("zone", text("hall"))]);
        assert_eq!(hall, json!([expected[1]]));
    }

    #[test]
    fn events_are_counted_by_type_and_interval() {
        let all = [("zone", Value::Null), ("interval_ns", (2 * SECOND_NS).into())];
        let interval = |second: i64, event: &str, n: u64| {
            json!({
                "interval_starts_at_ns": START_NS + second * SECOND_NS, "zone_id": "kitchen",
                "event": event, "n_events": n, "n_subjects": n,
            })
        };
        let expected = [interval(0, "person.entered_zone", 2), interval(2, "person.left_zone", 1)];
        assert_eq!(answer(EVENTS, &all, &[]), json!(expected));
        assert_eq!(answer(EVENTS, &all, &[("zone", text("hall"))]), json!([]));
    }
}
