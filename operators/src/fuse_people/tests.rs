use schemas::{Keypoint, SitePosition};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

use super::*;
use crate::keyed::N_KEY_GROUPS;
use crate::testing::remember;

/// A person at a place, with a keypoint.
fn person(x_m: f32, confidence: f32) -> Person {
    let position = Some(SitePosition { x_m, y_m: 0.0 });
    let keypoints = vec![Keypoint { x: x_m, ..Keypoint::default() }];
    Person { position, confidence, keypoints, ..Person::default() }
}

fn frame(source: &str, at_ms: i64, persons: Vec<Person>) -> PoseFrame {
    let captured_at_ns = at_ms * 1_000_000;
    PoseFrame { source: source.to_owned(), captured_at_ns, persons, ..PoseFrame::default() }
}

fn camera(at_ms: i64, persons: Vec<Person>) -> Input {
    Input::First(frame("camera", at_ms, persons))
}

fn wifi(at_ms: i64, persons: Vec<Person>) -> Input {
    Input::Other(frame("wifi", at_ms, persons))
}

/// Returns the fused frames.
fn fused(inputs: Vec<Input>) -> Vec<PoseFrame> {
    let (to, frames) = std::sync::mpsc::sync_channel(1000);
    timely::execute_directly(move |worker| {
        let (mut records, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (records, stream) = scope.new_input::<Vec<Input>>();
            let context = Context::detached("fused");
            let component = context.component.clone();
            let fuses = Fuses { config: FusePeopleConfig::default(), component };
            let frames = stateful(stream, &context, fuses);
            let frames = frames.inspect(move |frame| to.send(frame.clone()).expect("a receiver"));
            (records, frames.probe().0)
        });
        for input in inputs {
            let at_ms = input.frame().captured_at_ns / 1_000_000;
            records.advance_to(u64::try_from(at_ms).expect("a tick"));
            records.send(input);
        }
        drop(records);
        worker.step_while(|| !probe.done());
    });
    frames.iter().collect()
}

/// Returns position, confidence and number of keypoints of each person.
fn people(frame: &PoseFrame) -> Vec<(f32, f32, usize)> {
    let of = |person: &Person| {
        (person.position.unwrap_or_default().x_m, person.confidence, person.keypoints.len())
    };
    frame.persons.iter().map(of).collect()
}

#[test]
fn close_detections_are_one_person() {
    for (name, seen_by_camera, seen_by_wifi, expected) in [
        ("nobody", vec![], vec![], vec![]),
        ("one person", vec![(1.0, 0.5)], vec![(1.8, 0.5)], vec![(1.4, 0.75, 1)]),
        (
            "the more confident counts more",
            vec![(0.0, 0.9)],
            vec![(0.9, 0.1)],
            vec![(0.09, 0.91, 1)],
        ),
        ("too far apart", vec![(1.0, 0.5)], vec![(2.1, 0.5)], vec![(1.0, 0.5, 1), (2.1, 0.5, 0)]),
        (
            "the least total distance",
            vec![(1.0, 0.5), (1.6, 0.5)],
            vec![(0.8, 0.5), (1.4, 0.5)],
            vec![(0.9, 0.75, 1), (1.5, 0.75, 1)],
        ),
        (
            "one of two",
            vec![(1.0, 0.5), (1.4, 0.5)],
            vec![(1.5, 0.5)],
            vec![(1.0, 0.5, 1), (1.45, 0.75, 1)],
        ),
        (
            "only one of two is seen by both",
            vec![(2.0, 1.0), (2.9, 1.0)],
            vec![(2.9, 1.0), (3.8, 1.0)],
            vec![(2.0, 1.0, 1), (2.9, 1.0, 1), (3.8, 1.0, 0)],
        ),
        ("no confidence", vec![(1.0, f32::NAN)], vec![(2.0, -1.0)], vec![(1.5, 0.0, 1)]),
    ] {
        let persons = |seen: Vec<(f32, f32)>| {
            seen.into_iter().map(|(x_m, confidence)| person(x_m, confidence)).collect()
        };
        // The second one closes the period.
        let inputs = vec![wifi(0, persons(seen_by_wifi)), camera(100, persons(seen_by_camera))];
        let frames = fused(inputs);
        assert_eq!(people(&frames[1]), expected, "{name}");
    }
}

#[test]
fn a_silent_estimator_is_forgotten() {
    let frames = fused(vec![
        wifi(0, vec![person(5.0, 0.5)]),
        camera(400, vec![person(1.0, 0.5)]),
        camera(500, vec![person(1.0, 0.5)]),
        camera(600, vec![person(1.0, 0.5)]),
    ]);
    let counts: Vec<_> = frames.iter().map(|frame| frame.persons.len()).collect();
    assert_eq!(counts, [1, 2, 1, 1]);
}

#[test]
fn a_frame_is_sent_every_period() {
    let inputs = (0..100).map(|nth| camera(nth * 10, vec![])).collect();
    let times: Vec<_> =
        fused(inputs).iter().map(|frame| frame.captured_at_ns / 1_000_000).collect();
    assert_eq!(times, (0..10).map(|nth| nth * 100).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_used_is_counted() {
    let nowhere = Person::default();
    let beyond =
        Person { position: Some(SitePosition { x_m: f32::NAN, y_m: 0.0 }), ..Person::default() };
    let crowd = vec![person(1.0, 0.5); MAX_PEOPLE + 3];
    let estimators = (0..MAX_ESTIMATORS + 5).map(|nth| frame(&format!("{nth:03}"), 800, vec![]));
    let inputs = vec![
        (0, vec![frame("camera", 0, vec![nowhere, beyond])]),
        (100, vec![frame("camera", 100, crowd)]),
        (110, vec![frame("camera", 50, vec![])]),
        (700, vec![frame("camera", 200, vec![])]),
        (800, estimators.collect()),
    ];
    let found = remember(inputs, |frames, context| {
        frames.fuse_people(vec![], FusePeopleConfig::default(), context)
    });
    let expected = [
        ("no position", 2),
        ("older than `max_age`", 1),
        ("older than the frame before", 1),
        ("too many estimators", 5),
        ("too many people", 3),
    ];
    assert_eq!(found.dropped.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn made_up_sites_are_forgotten() {
    let of_tick = |nth: u64| {
        let frames = (0..500)
            .map(move |mth| PoseFrame { site: format!("{nth} {mth}"), ..PoseFrame::default() });
        (nth * 100, frames.collect::<Vec<_>>())
    };
    let inputs: Vec<_> = (0..20).map(of_tick).collect();
    let found = remember(inputs, |frames, context| {
        frames.fuse_people(vec![], FusePeopleConfig::default(), context)
    });
    assert!(found.most_keys <= Fuses::LIMITS.max_keys_per_group * N_KEY_GROUPS);
    assert!(found.dropped["too many keys"] > 1000, "{:?}", found.dropped);
}
