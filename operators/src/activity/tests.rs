//! Windows and events of moving people, against lists that are written by hand.

use proptest::prelude::*;
use schemas::{BoundingBox, Person, SitePosition};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::capture::Event as Captured;
use timely::dataflow::operators::{Capture, Operator, ToStream};

use super::*;
use crate::testing::{any_time_ns, remember};

const CONFIG: ActivityConfig = ActivityConfig {
    window: TimeSpan::from_s(1),
    standing_height: 0.6,
    walking_m_s: 0.35,
    max_fall: TimeSpan::from_ms(1500),
};

/// Runs ten frames a second, each with the height of the box and the place along x; without the person if the
/// height is 0.
fn told(moments: Vec<(f32, f32)>) -> Vec<String> {
    let captured = timely::example(move |scope| {
        let frames = moments.into_iter().zip(0_i64..).map(|((height, x_m), nth)| {
            let person = Person {
                id: "a".to_owned(),
                bounding_box: BoundingBox { height, ..BoundingBox::default() },
                position: Some(SitePosition { x_m, y_m: 0.0 }),
                ..Person::default()
            };
            let captured_at_ns = nth * 100_000_000;
            let persons = if height > 0.0 { vec![person] } else { Vec::new() };
            PoseFrame { captured_at_ns, persons, ..PoseFrame::default() }
        });
        let frames: Vec<_> = frames.collect();
        frames
            .to_stream(scope)
            .container::<Vec<_>>()
            .unary::<CapacityContainerBuilder<Vec<PoseFrame>>, _, _, _>(
                timely::dataflow::channels::pact::Pipeline,
                "Ticks",
                |_capability, _info| {
                    |input, output| {
                        input.for_each_time(|time, batches| {
                            for frame in batches.flat_map(|batch| batch.drain(..)) {
                                let tick = frame.captured_at_ns.unsigned_abs() / 1_000_000;
                                output.session(&time.delayed(&tick, 0)).give(frame);
                            }
                        });
                    }
                },
            )
            .activities(CONFIG, Context::detached("activity"))
            .capture()
    });
    let told = captured.into_iter().flat_map(|event| {
        let Captured::Messages(end, records) = event else { return Vec::new() };
        let lines = records.into_iter().filter_map(move |record| {
            Some(match record {
                Record::Pose(frame) => {
                    // The first window ends after a second.
                    let activity = frame.persons.first()?.activity;
                    assert_eq!(
                        activity.is_some(),
                        frame.captured_at_ns >= 1_000 * NS_PER_MS,
                        "{frame:?}"
                    );
                    return None;
                }
                Record::Activity(window) => {
                    assert_eq!(window.ends_at_ns, i64::try_from(end).unwrap() * NS_PER_MS);
                    format!("{end} {}", window.activity.as_str())
                }
                Record::Event(event) => format!("{end} {}", event.event_type.as_str()),
                other => panic!("activity gives no {}", other.kind()),
            })
        });
        lines.collect()
    });
    told.collect()
}

/// Ten frames at this height.
fn second(height: f32) -> Vec<(f32, f32)> {
    vec![(height, 0.0); 10]
}

#[test]
fn tells_postures_apart() {
    for (name, moments, expected) in [
        ("standing", second(0.6), "1000 standing"),
        ("sitting", second(0.4), "1000 sitting"),
        ("lying", second(0.1), "1000 lying"),
        ("walking", (0_u8..10).map(|nth| (0.6, 0.1 * f32::from(nth))).collect(), "1000 walking"),
    ] {
        assert!(told(moments).contains(&expected.to_owned()), "{name}");
    }
}

#[test]
fn a_fall_is_a_short_way_down() {
    let fall = told([second(0.6), second(0.1), second(0.1)].concat());
    let expected = ["1000 person.activity_detected", "1000 standing", "2000 person.fall_detected"];
    assert_eq!(fall[..3], expected);
    assert_eq!(fall.iter().filter(|line| line.ends_with("fall_detected")).count(), 1, "told once");
    let lying_down = told([second(0.6), second(0.4), second(0.4), second(0.1)].concat());
    assert!(lying_down.contains(&"4000 lying".to_owned()), "{lying_down:?}");
    assert!(!lying_down.iter().any(|line| line.contains("fall")), "{lying_down:?}");
}

#[test]
fn who_is_gone_does_nothing_more() {
    let mut leaves = [second(0.6), second(0.4), second(0.6)].concat();
    leaves[18..].fill((0.0, 0.0));
    let expected = ["1000 person.activity_detected", "1000 standing"];
    assert_eq!(told(leaves.clone()), expected);
    leaves[10..18].fill((0.1, 0.0));
    let fell = told(leaves);
    assert_eq!(fell[2..], ["2000 person.fall_detected", "2000 fall"], "a fall is told");
    let mut blinks = [second(0.6), second(0.4)].concat();
    blinks[13] = (0.0, 0.0);
    assert_eq!(told(blinks)[2..], ["2000 person.activity_detected", "2000 sitting"]);
}

#[test]
fn made_up_people_are_forgotten() {
    let of_tick = |nth: u64| {
        let ids = (0..500).map(|mth| (nth * 500 + mth).to_string());
        let persons = ids.map(|id| Person { id, ..Person::default() }).collect();
        (nth * 1000, vec![PoseFrame { persons, ..PoseFrame::default() }])
    };
    let inputs: Vec<_> = (0..6).map(of_tick).collect();
    // The windows are longer than the test, so that state is saved before they end.
    let config = ActivityConfig { window: TimeSpan::from_s(100), ..CONFIG };
    let found = remember(inputs, move |frames, context| frames.activities(config, context));
    let max_keys = TellsActivities::LIMITS.max_keys_per_group;
    assert_eq!(found.most_keys, max_keys, "a site is one key group");
    assert_eq!(found.dropped["too many keys"], 6 * 500 - max_keys as u64);
    assert_eq!(found.n_keys, 0, "the others are forgotten with their windows");
}

proptest! {
    #[test]
    fn any_time_will_do(
        times_ns in prop::collection::vec(any_time_ns(), 1..20),
        end in any::<Tick>(),
        window_ms in any::<u64>(),
    ) {
        let config = ActivityConfig { window: TimeSpan::from_ms(window_ms), ..CONFIG };
        let mut state = PersonState::default();
        for captured_at_ns in times_ns {
            let frame = PoseFrame { captured_at_ns, ..PoseFrame::default() };
            state.observe(&frame, &Person::default(), &config);
        }
        let key = PersonKey::new(&PoseFrame::default(), "a");
        let component = Context::detached("activity").component;
        let operator = TellsActivities { config, component };
        let (window, mut records) = (state.window.take().expect("seen"), Vec::new());
        state.close(&key, end, window, &operator, &mut records);
        let Some(Record::Activity(window)) = records.pop() else { panic!("a window closes") };
        prop_assert!(window.starts_at_ns <= window.ends_at_ns);
        prop_assert!(config.window_end(end) >= end);
    }
}
