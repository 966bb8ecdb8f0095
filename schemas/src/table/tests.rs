//! Every record survives Arrow and JSON unchanged, whatever its values.

use std::fmt::Debug;

use num_complex::Complex32;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::{
    Activity, ActivityWindow, BoundingBox, CalibrationState, CsiBatch, CsiLayout, Estimator,
    EstimatorKind, Event, EventId, EventType, Keypoint, Link, Motion, Person, PoseFrame, Presence,
    PresenceState, SitePosition, SourceKind, ZoneOccupancy,
};

const MAX_INT: i64 = i64::MAX;

fn check<R: RecordType + PartialEq + Debug>(rows: &[R]) -> Result<(), TestCaseError> {
    let batch = to_batch(rows).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(batch.num_rows(), rows.len());
    let returned: Vec<R> =
        from_batch(&batch).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(returned.as_slice(), rows);
    for row in rows {
        let json = serde_json::to_string(row).expect("a record is JSON");
        prop_assert_eq!(&serde_json::from_str::<R>(&json).expect("JSON is a record"), row);
    }
    Ok(())
}

fn number() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::ZERO
}

fn source_kind() -> impl Strategy<Value = SourceKind> {
    prop::sample::select(vec![SourceKind::Live, SourceKind::Replay, SourceKind::Simulated])
}

fn activity() -> impl Strategy<Value = Activity> {
    use Activity::{Fall, Lying, Sitting, Standing, Unknown, Walking};
    prop::sample::select(vec![Unknown, Standing, Walking, Sitting, Lying, Fall])
}

fn csi_batch() -> impl Strategy<Value = CsiBatch> {
    let frame = (any::<i64>(), any::<u32>(), number(), number(), number());
    (1_u16..3, vec(any::<i16>(), 1..5), vec(frame, 0..4), number(), source_kind(), ".*").prop_map(
        |(n_rx, subcarriers, frames, value, source_kind, receiver)| {
            let layout = CsiLayout {
                n_rx,
                n_tx: 1,
                rx_antennas: (0..n_rx as u8).collect(),
                subcarriers,
                bandwidth_mhz: 20,
                centre_mhz: 2412,
                ..CsiLayout::default()
            };
            let link = Link { site: "flat".into(), receiver, transmitter: "ap".into() };
            let mut batch = CsiBatch::new(link, layout.into(), source_kind);
            for (captured_at_ns, sequence, rssi_dbm, noise_dbm, agc_db) in frames {
                let n_values = batch.layout.n_values();
                batch.iq.extend(std::iter::repeat_n(Complex32::new(value, -value), n_values));
                let frame = crate::CsiFrame {
                    captured_at_ns,
                    sequence,
                    rssi_dbm,
                    noise_dbm,
                    agc_db,
                    scale: value,
                    n_missed: sequence,
                };
                batch.push_scalars(frame).expect("the frame fills its layout");
            }
            batch
        },
    )
}

fn person() -> impl Strategy<Value = Person> {
    let keypoint = (0_u8..17, number(), number(), number()).prop_map(|(id, x, y, confidence)| {
        let name = crate::KEYPOINT_NAMES[usize::from(id)].to_owned();
        Keypoint { id, name, x, y, confidence }
    });
    let position = (number(), number()).prop_map(|(x_m, y_m)| SitePosition { x_m, y_m });
    (
        ".*",
        vec(keypoint, 0..3),
        number(),
        option::of(position),
        option::of(".*"),
        option::of(activity()),
    )
        .prop_map(|(id, keypoints, confidence, position, zone, activity)| {
            let bounding_box = BoundingBox::around(&keypoints);
            Person { id, keypoints, bounding_box, confidence, position, zone, activity }
        })
        .prop_filter("a box of finite size", |person| {
            person.bounding_box.width.is_finite() && person.bounding_box.height.is_finite()
        })
}

fn pose_frame() -> impl Strategy<Value = PoseFrame> {
    let times = (any::<i64>(), 0..=MAX_INT.unsigned_abs(), option::of(number()));
    (".*", times, vec(person(), 0..3), source_kind(), option::of("[0-9a-f]{8}")).prop_map(
        |(site, (captured_at_ns, frame_id, processing_time_ms), persons, source_kind, hash)| {
            let estimator = Estimator { kind: EstimatorKind::Model, name: "room".into(), hash };
            let source = "pose".to_owned();
            PoseFrame {
                site,
                source,
                captured_at_ns,
                frame_id,
                persons,
                processing_time_ms,
                source_kind,
                estimator,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn csi_round_trips(rows in vec(csi_batch(), 0..4)) {
        check(&rows)?;
    }

    #[test]
    fn pose_round_trips(rows in vec(pose_frame(), 0..4)) {
        check(&rows)?;
    }

    #[test]
    fn presence_round_trips(
        link in ".*",
        captured_at_ns: i64,
        moving_variance in option::of(number()),
        correlation in option::of(number()),
        threshold in option::of(number()),
        breaths_per_minute in option::of(number()),
        confidence in option::of(number()),
        source_kind in source_kind(),
    ) {
        for (motion, calibration, presence) in [
            (Motion::Unknown, None, None),
            (Motion::Still, Some(CalibrationState::NotQuiet), Some(PresenceState::Unknown)),
            (Motion::Still, Some(CalibrationState::Done), Some(PresenceState::Absent)),
            (Motion::Moving, Some(CalibrationState::Done), Some(PresenceState::Present)),
        ] {
            let (site, link) = ("flat".to_owned(), link.clone());
            check(&[Presence {
                site, link, captured_at_ns, motion, moving_variance, threshold, correlation, calibration,
                presence, breaths_per_minute, confidence, source_kind,
            }])?;
        }
    }

    #[test]
    fn occupancy_round_trips(
        zone in ".*",
        persons in vec(".*", 0..4),
        since_ns: i64,
        source_kind in source_kind(),
    ) {
        let count = u32::try_from(persons.len()).expect("few");
        check(&[ZoneOccupancy { site: "flat".into(), zone, count, persons, since_ns, source_kind }])?;
    }

    #[test]
    fn activity_round_trips(
        subject in ".*",
        starts_at_ns: i64,
        ends_at_ns: i64,
        activity in activity(),
        confidence in number(),
        zone in option::of(".*"),
        source_kind in source_kind(),
    ) {
        let site = "flat".to_owned();
        check(&[ActivityWindow {
            site, subject, starts_at_ns, ends_at_ns, activity, confidence, zone, source_kind,
        }])?;
    }

    #[test]
    fn event_round_trips(
        tick in 0_u64..1 << 50,
        occurred_at_ns: i64,
        subject in ".*",
        activity in option::of(activity()),
        zone in option::of(".*"),
    ) {
        use EventType::{ActivityDetected, EnteredZone, FallDetected, LeftZone};
        for event_type in [ActivityDetected, EnteredZone, FallDetected, LeftZone] {
            check(&[Event {
                id: EventId::derive("flat", tick, event_type, &subject),
                event_type,
                site: "flat".into(),
                occurred_at_ns,
                subject: subject.clone(),
                zone: zone.clone(),
                activity,
                confidence: 0.5,
                source_kind: SourceKind::Replay,
            }])?;
        }
    }
}

proptest! {
    /// A record with any numbers fits its table, or `misfit` reports the reason.
    #[test]
    fn a_record_that_does_not_fit_says_so(
        captured_at_ns: i64,
        frame_id: u64,
        keypoint_id: u8,
        x: f32,
        processing_time_ms: Option<f32>,
    ) {
        let keypoint = Keypoint { id: keypoint_id, x, ..Keypoint::default() };
        let person = Person { keypoints: vec![keypoint], ..Person::default() };
        let persons = vec![person];
        let frame = PoseFrame {
            captured_at_ns, frame_id, persons, processing_time_ms, ..PoseFrame::default()
        };
        let record = Record::Pose(frame);
        let batch = Record::to_batch(std::slice::from_ref(&record));
        prop_assert_eq!(batch.is_ok(), record.misfit().is_none(), "{:?}", batch);
    }
}

#[test]
fn names_in_queries_are_the_names_in_json() {
    for activity in [Activity::Unknown, Activity::Walking, Activity::Fall] {
        assert_eq!(serde_json::json!(activity), activity.as_str());
    }
    for event_type in [EventType::EnteredZone, EventType::LeftZone, EventType::FallDetected] {
        assert_eq!(serde_json::json!(event_type), event_type.as_str());
    }
}
