//! People walk through zones: the records are what one would note by hand.

use std::sync::{Arc, Mutex};

use schemas::{EventType, Person, SitePosition};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

use super::*;

/// Two rooms of one metre, side by side.
fn config() -> ZonesConfig {
    let square = |left: f32| ZoneConfig {
        coordinates: vec![[left, 0.0], [left + 1.0, 0.0], [left + 1.0, 1.0], [left, 1.0]],
        site: None,
    };
    let zones = [("hall".to_owned(), square(0.0)), ("kitchen".to_owned(), square(1.0))];
    ZonesConfig { zones: zones.into() }
}

fn frame(tick: Tick, people: &[(&str, f32)]) -> PoseFrame {
    let persons = people.iter().map(|(id, x_m)| Person {
        id: (*id).to_owned(),
        position: Some(SitePosition { x_m: *x_m, y_m: 0.5 }),
        ..Person::default()
    });
    PoseFrame {
        site: "flat".to_owned(),
        captured_at_ns: since_ns(tick),
        persons: persons.collect(),
        ..PoseFrame::default()
    }
}

fn since_ns(tick: Tick) -> i64 {
    i64::try_from(tick).expect("small") * 1_000_000
}

/// What the operator says of some frames, a line a record.
fn told(n_workers: usize, frames: Vec<PoseFrame>) -> Vec<String> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&told);
    let config = timely::Config::process(n_workers);
    let guards = timely::execute(config, move |worker| {
        let shared = Arc::clone(&shared);
        let (mut input, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, frames) = scope.new_input::<Vec<PoseFrame>>();
            let records = frames.zones(&self::config(), Context::detached("zones"));
            let records = records.inspect_time(move |tick, record| {
                shared.lock().unwrap().push((*tick, line(record)));
            });
            (input, records.probe().0)
        });
        for frame in frames.iter().filter(|_| worker.index() == 0) {
            let tick = u64::try_from(frame.captured_at_ns / 1_000_000).expect("after the epoch");
            input.advance_to(tick);
            input.send(frame.clone());
        }
        drop(input);
        worker.step_while(|| !probe.done());
    });
    guards.expect("workers start").join().into_iter().for_each(|worker| worker.expect("no panic"));
    let mut told = std::mem::take(&mut *told.lock().unwrap());
    told.sort();
    told.into_iter().map(|(tick, line)| format!("{tick} {line}")).collect()
}

fn line(record: &Record) -> String {
    match record {
        Record::Event(event) => {
            let what = if event.event_type == EventType::EnteredZone { "enters" } else { "leaves" };
            format!("{} {what} {}", event.subject, event.zone.as_deref().unwrap_or("?"))
        }
        Record::Occupancy(occupancy) => format!("{} has {}", occupancy.zone, occupancy.count),
        Record::Pose(frame) => {
            let zone =
                |person: &Person| person.zone.clone().unwrap_or_else(|| "nowhere".to_owned());
            let people =
                frame.persons.iter().map(|person| format!("{} in {}", person.id, zone(person)));
            format!("see {}", people.collect::<Vec<_>>().join(", "))
        }
        other => panic!("zones gives no {}", other.kind()),
    }
}

#[test]
fn people_walk_through_zones() {
    let frames = vec![
        frame(10, &[("a", 0.5), ("b", 5.0)]),
        frame(20, &[("a", 0.6), ("b", 1.5)]),
        frame(30, &[("a", 1.4), ("b", 1.5)]),
        frame(40, &[("b", 1.5)]),
        frame(50, &[]),
    ];
    let expected = [
        "10 a enters hall",
        "10 hall has 1",
        "10 see a in hall, b in nowhere",
        "20 b enters kitchen",
        "20 kitchen has 1",
        "20 see a in hall, b in kitchen",
        "30 a enters kitchen",
        "30 a leaves hall",
        "30 hall has 0",
        "30 kitchen has 2",
        "30 see a in kitchen, b in kitchen",
        "40 a leaves kitchen",
        "40 kitchen has 1",
        "40 see b in kitchen",
        "50 b leaves kitchen",
        "50 kitchen has 0",
        "50 see ",
    ];
    for n_workers in [1, 2, 4] {
        assert_eq!(told(n_workers, frames.clone()), expected, "with {n_workers} workers");
    }
}
