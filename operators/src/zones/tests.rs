//! People walk through zones: the records match lists that are written by hand.

use std::sync::{Arc, Mutex};

use differential_dataflow::input::Input;
use schemas::{EventType, Person, SitePosition};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

use super::*;
use crate::keyed::N_KEY_GROUPS;
use crate::testing::remember;

/// A room of one metre.
fn room(name: &str, left: f32) -> Zone {
    let coordinates = vec![[left, 0.0], [left + 1.0, 0.0], [left + 1.0, 1.0], [left, 1.0]];
    Zone::new(name, &ZoneConfig { coordinates, site: None })
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

/// Runs the operator on frames in two rooms, side by side, and returns a line per record. Each change adds
/// (+1) or removes (-1) a zone at a tick.
fn told(
    n_workers: usize,
    frames: Vec<PoseFrame>,
    changes: Vec<(Tick, Zone, isize)>,
) -> Vec<String> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&told);
    let config = timely::Config::process(n_workers);
    let guards = timely::execute(config, move |worker| {
        let shared = Arc::clone(&shared);
        let is_first = worker.index() == 0;
        let (mut input, mut zones, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, frames) = scope.new_input::<Vec<PoseFrame>>();
            let rooms = [room("hall", 0.0), room("kitchen", 1.0)];
            let (zones, collection) =
                scope.new_collection_from(rooms.into_iter().filter(move |_| is_first));
            let records = frames.zones(collection.inner, 0.05, Context::detached("zones"));
            let records = records.inspect_time(move |tick, record| {
                shared.lock().unwrap().push((*tick, line(record)));
            });
            (input, zones, records.probe().0)
        });
        for (tick, zone, diff) in changes.iter().filter(|_| is_first) {
            zones.advance_to(*tick);
            zones.update(zone.clone(), *diff);
        }
        drop(zones);
        for frame in frames.iter().filter(|_| is_first) {
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
        assert_eq!(
            told(n_workers, frames.clone(), Vec::new()),
            expected,
            "with {n_workers} workers"
        );
    }
}

#[test]
fn zones_change_around_people() {
    let frames = vec![
        frame(10, &[("a", 0.5)]),
        frame(20, &[("a", 0.5)]),
        frame(30, &[("a", 0.5)]),
        frame(50, &[("a", 0.5)]),
    ];
    let changes = vec![
        // The hall moves away and a bed replaces it; then no zone is left there.
        (20, room("hall", 0.0), -1),
        (20, room("hall", 5.0), 1),
        (20, room("bed", 0.0), 1),
        (40, room("bed", 0.0), -1),
    ];
    let expected = [
        "10 a enters hall",
        "10 hall has 1",
        "10 see a in hall",
        "20 a enters bed",
        "20 a leaves hall",
        "20 bed has 1",
        "20 hall has 0",
        "20 see a in bed",
        "30 see a in bed",
        "40 a leaves bed",
        "40 bed has 0",
        "50 see a in nowhere",
    ];
    for n_workers in [1, 2, 4] {
        let told = told(n_workers, frames.clone(), changes.clone());
        assert_eq!(told, expected, "with {n_workers} workers");
    }
}

#[test]
fn who_stands_on_a_border_stays_in_a_zone() {
    let at = [0.99, 1.02, 0.98, 1.01, 0.99, 1.05, 1.03];
    let frames = at.iter().zip(1..).map(|(x_m, nth)| frame(10 * nth, &[("a", *x_m)]));
    let told = told(1, frames.collect(), Vec::new());
    let moves = told.iter().filter(|line| line.contains("enters") || line.contains("leaves"));
    let expected = ["10 a enters hall", "60 a enters kitchen", "60 a leaves hall"];
    assert_eq!(moves.collect::<Vec<_>>(), expected);
}

#[test]
fn people_of_a_silent_source_leave() {
    let from = |source: &str, frame: PoseFrame| PoseFrame { source: source.to_owned(), ..frame };
    let frames = vec![
        from("one", frame(10, &[("a", 0.5)])),
        from("two", frame(20, &[("b", 1.5)])),
        from("two", frame(HOUR_MS, &[("b", 1.5)])),
        from("two", frame(HOUR_MS + 10, &[("b", 1.5)])),
    ];
    let expected = [
        "10 a enters hall",
        "10 hall has 1",
        "10 see a in hall",
        "20 b enters kitchen",
        "20 kitchen has 1",
        "20 see b in kitchen",
        "3600000 see b in kitchen",
        "3600010 a leaves hall",
        "3600010 hall has 0",
        "3600010 see b in kitchen",
    ];
    for n_workers in [1, 2, 4] {
        let told = told(n_workers, frames.clone(), Vec::new());
        assert_eq!(told, expected, "with {n_workers} workers");
    }
}

#[test]
fn made_up_sites_are_forgotten() {
    const N_TICKS: u64 = 45;
    const N_MADE_UP: u64 = 1000;
    let of_tick = |nth: u64| {
        let sites = (0..N_MADE_UP).map(|mth| format!("site {}", nth * N_MADE_UP + mth));
        let frames = sites.map(|site| PoseFrame { site, ..frame(nth * 100, &[("a", 0.5)]) });
        (nth * 100, frames.collect::<Vec<_>>())
    };
    let inputs: Vec<_> = (0..N_TICKS).map(of_tick).collect();
    let found = remember(inputs, |frames, context| {
        let (_, rooms) = frames.scope().new_collection_from([room("hall", 0.0)]);
        frames.zones(rooms.inner, 0.1, context)
    });
    let max_keys = Moves::LIMITS.max_keys_per_group * N_KEY_GROUPS;
    assert!(found.most_keys <= max_keys, "{} sites are saved", found.most_keys);
    let n_forgotten = found.dropped["too many keys"];
    assert_eq!(n_forgotten + found.n_keys as u64, N_TICKS * N_MADE_UP, "no site is lost otherwise");
}

#[test]
fn an_evicted_site_leaves_nothing_behind() {
    let mut memberships = Memberships::new(Context::detached("zones").component);
    let site = || "flat".to_owned();
    let member = |diff| Update::Member {
        site: site(),
        zone: "hall".to_owned(),
        person: "a".to_owned(),
        diff,
    };
    let seen = Update::Frame(frame(10, &[("a", 0.5)]));
    memberships.update(10, &[member(1), seen], &mut Vec::new());
    assert_eq!(memberships.n_sites(), 1);
    memberships.update(20, &[member(-1), Update::Evicted { site: site() }], &mut Vec::new());
    assert_eq!(memberships.n_sites(), 0);
}
