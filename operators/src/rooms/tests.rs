use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timely::dataflow::operators::{Input, Inspect, Probe};

use super::*;

fn report(link: &str, motion: Motion, presence: PresenceState) -> Presence {
    Presence {
        site: "flat".to_owned(),
        link: link.to_owned(),
        motion,
        confidence: Some(0.8),
        presence: Some(presence),
        ..Presence::default()
    }
}

/// Runs the operator on reports at their ticks, and then to the last tick. Returns tick, room, motion and
/// presence of its reports.
fn run(
    config: &str,
    inputs: Vec<(Tick, Presence)>,
    until: Tick,
) -> Vec<(Tick, String, Motion, PresenceState)> {
    let config: RoomsConfig = serde_json::from_str(config).expect("settings");
    let found = Arc::<Mutex<Vec<Presence>>>::default();
    let to = Arc::clone(&found);
    timely::execute_directly(move |worker| {
        let (mut input, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, reports) = scope.new_input::<Vec<Presence>>();
            let rooms = reports.rooms(config, Context::detached("rooms"));
            let rooms = rooms.inspect(move |room| lock(&to).push(room.clone()));
            (input, rooms.probe().0)
        });
        for (tick, report) in inputs {
            input.advance_to(tick);
            input.send(report);
        }
        input.advance_to(until);
        worker.step_while(|| probe.less_than(&until));
    });
    let found = std::mem::take(&mut *lock(&found)).into_iter().map(|room| {
        let tick = u64::try_from(room.captured_at_ns / NS_PER_MS).expect("it is a tick");
        (tick, room.link, room.motion, room.presence.expect("it is known"))
    });
    found.collect()
}

fn lock(found: &Mutex<Vec<Presence>>) -> MutexGuard<'_, Vec<Presence>> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_room_whose_links_are_silent_is_unknown() {
    let inputs = vec![(100, report("a/ap", Motion::Moving, PresenceState::Present))];
    let found = run(r#"{ "hold": "10s", "report_every": "1h" }"#, inputs, 100_000);
    let expected = [
        (100, "flat".to_owned(), Motion::Moving, PresenceState::Present),
        (6000, "flat".to_owned(), Motion::Unknown, PresenceState::Present),
        (16000, "flat".to_owned(), Motion::Unknown, PresenceState::Unknown),
    ];
    assert_eq!(found, expected);
}

#[test]
fn somebody_stays_until_nothing_moves() {
    let inputs = vec![
        (0, report("a/ap", Motion::Moving, PresenceState::Present)),
        (2000, report("a/ap", Motion::Still, PresenceState::Unknown)),
        (4000, report("a/ap", Motion::Still, PresenceState::Absent)),
    ];
    let found = run(r#"{ "report_every": "1h" }"#, inputs, 5000);
    let presence: Vec<_> = found.iter().map(|(tick, .., presence)| (*tick, *presence)).collect();
    let expected = [
        (0, PresenceState::Present),
        (2000, PresenceState::Present),
        (4000, PresenceState::Absent),
        // The end of the input: nobody reports any more.
        (10_000, PresenceState::Unknown),
    ];
    assert_eq!(presence, expected);
}

#[test]
fn rooms_have_the_links_that_are_named() {
    let inputs = ["a/ap", "b/ap", "b/phone", "c/ap"]
        .map(|link| (0, report(link, Motion::Still, PresenceState::Unknown)));
    let config = r#"{ "rooms": { "hall": ["b"], "kitchen": ["a/ap", "b/phone"] } }"#;
    let found = run(config, inputs.into(), 500);
    let first = found.iter().filter(|(tick, ..)| *tick == 0);
    let rooms: Vec<_> = first.map(|(_, room, ..)| room.as_str()).collect();
    assert_eq!(rooms, ["hall", "kitchen"]);
}
