//! Committed checkpoints are loaded after restarts, lost replies and damage of the file.

use std::fs;

use sources::{Decision, DecisionKind};
use tempfile::TempDir;

use super::session::MAX_DELTAS;
use super::*;

fn changes(entries: &[(&str, u8, Option<u8>)]) -> State {
    let mut state = State::default();
    for (name, key, value) in entries {
        let component = state.components.entry((*name).to_owned()).or_default();
        component.shape = "1".to_owned();
        component.entries.insert(vec![*key], value.map(|value| vec![value]));
    }
    state
}

fn open(directory: &TempDir) -> Store {
    Store::open(directory.path(), "state.db").expect("a file can be made")
}

/// Begins a run.
fn begin(store: &Store) -> (Session, Option<Checkpoint>) {
    let (mut session, checkpoint) = store.load("flat", 3, false).expect("the store is intact");
    session.take_generation().expect("nobody else does");
    (session, checkpoint)
}

/// Values of component "a" by key.
fn values(checkpoint: &Checkpoint) -> Vec<(u8, u8)> {
    let Some(component) = checkpoint.state.components.get("a") else { return Vec::new() };
    let entries = component.entries.iter();
    entries.map(|(key, value)| (key[0], value.as_ref().expect("no removed key")[0])).collect()
}

#[test]
fn the_latest_change_of_each_key_is_restored() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, nothing) = begin(&store);
    assert!(nothing.is_none());
    session.commit(10.into(), &changes(&[("a", 1, Some(1)), ("a", 2, Some(2))])).expect("room");
    session.commit(20.into(), &changes(&[("a", 1, Some(3)), ("b", 9, Some(9))])).expect("room");
    session.commit(30.into(), &changes(&[("a", 2, None)])).expect("room");
    store.close();
    let store = open(&directory);
    let (session, checkpoint) = begin(&store);
    let checkpoint = checkpoint.expect("it was committed");
    assert_eq!((checkpoint.progress, values(&checkpoint)), (30.into(), vec![(1, 3)]));
    let (mut fresh, nothing) = store.load("flat", 3, true).expect("it is intact");
    assert!(nothing.is_none() && fresh.lineage() != session.lineage());
    assert_eq!(store.list().expect("it is open").len(), 3, "nothing is forgotten yet");
    fresh.take_generation().expect("nobody else does");
    assert!(store.list().expect("it is open").is_empty());
}

#[test]
fn an_earlier_run_can_commit_until_the_next_has_begun() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut first, _) = begin(&store);
    first.commit(10.into(), &changes(&[("a", 1, Some(1))])).expect("room");
    let (mut early, _) = store.load("flat", 3, false).expect("it is intact");
    first.commit(20.into(), &State::default()).expect("the other one has not begun");
    let error = early.take_generation().expect_err("it would go on from an earlier checkpoint");
    assert!(matches!(error, StoreError::Moved { .. }), "{error}");
    let (mut second, checkpoint) = store.load("flat", 3, false).expect("it is intact");
    assert_eq!(checkpoint.expect("it was committed").progress, 20.into());
    second.take_generation().expect("nothing was committed since");
    let error = first.commit(30.into(), &State::default()).expect_err("it was taken over");
    assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
    second.commit(30.into(), &State::default()).expect("it is the newest");
}

#[test]
fn other_processes_join_what_the_first_one_loaded() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut before, _) = begin(&store);
    before.commit(10.into(), &changes(&[("a", 1, Some(1))])).expect("room");
    let (first, _) = store.load("flat", 3, false).expect("it is intact");
    let (second, checkpoint) = store.join("flat", 3, &first.run_id()).expect("it is there");
    assert_eq!(second.run_id(), first.run_id());
    assert_eq!(checkpoint.expect("it was committed").progress, 10.into());
    let (fresh, _) = store.load("flat", 3, true).expect("it is intact");
    let (joined, nothing) = store.join("flat", 3, &fresh.run_id()).expect("it is empty");
    assert!(nothing.is_none() && joined.lineage() == fresh.lineage());
    let missing = RunId { latest: Some(20.into()), ..first.run_id() };
    let error = store.join("flat", 3, &missing).expect_err("there is no such checkpoint");
    assert!(matches!(error, StoreError::Moved { .. }), "{error}");
}

/// The database has committed, but its reply is lost: the session makes the same call again.
#[test]
fn a_lost_reply_to_a_commit_is_recognised() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, _) = begin(&store);
    // The first checkpoint is whole, the second is incremental.
    for key in [10, 20] {
        let (tick, changes) = (u64::from(key), changes(&[("a", key, Some(1))]));
        session.try_commit(tick.into(), &changes).expect("room");
        session.commit(tick.into(), &changes).expect("it is there already");
    }
    session.commit(30.into(), &State::default()).expect("it goes on");
    let listed = store.list().expect("it is open");
    let ticks: Vec<_> = listed.iter().map(|listed| (listed.progress, listed.whole)).collect();
    assert_eq!(ticks, [(10.into(), true), (20.into(), false), (30.into(), false)]);
    let checkpoint = store.inspect("flat", None).expect("it is intact").expect("it is kept");
    assert_eq!(values(&checkpoint), [(10, 1), (20, 1)]);
}

#[test]
fn many_checkpoints_take_little_room() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, _) = begin(&store);
    for nth in 1..=600 {
        let oldest =
            session.commit((nth * 10).into(), &changes(&[("a", (nth % 7) as u8, Some(1))]));
        assert_eq!(oldest.expect("room"), (nth * 10).saturating_sub(20).max(10));
    }
    let listed = store.list().expect("it is intact");
    assert!(listed.len() <= MAX_DELTAS + 4, "{} are kept", listed.len());
    assert_eq!(listed.last().expect("the newest").progress, 6000.into());
    let checkpoint = store.inspect("flat", Some(5995)).expect("it is intact").expect("it is kept");
    assert_eq!((checkpoint.progress, values(&checkpoint).len()), (5990.into(), 7));
}

/// For every flipped bit, an intact checkpoint is loaded, or none, but never a wrong one.
#[test]
fn a_flipped_bit_is_never_believed() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, _) = begin(&store);
    for nth in 1..=4_u8 {
        let tick = u64::from(nth) * 10;
        session
            .commit(tick.into(), &changes(&[("a", 1, Some(nth)), ("a", 10 + nth, Some(nth))]))
            .expect("room");
    }
    store.close();
    let path = directory.path().join("state.db");
    let intact = fs::read(&path).expect("the store");
    let expected = |tick: Tick| -> Vec<(u8, u8)> {
        let nth = (tick / 10) as u8;
        [(1, nth)].into_iter().chain((1..=nth).map(|nth| (10 + nth, nth))).collect()
    };
    let (mut n_latest, mut n_earlier, mut n_refused) = (0, 0, 0);
    for at in (0..intact.len()).step_by(41) {
        let folder = tempfile::tempdir().expect("room");
        let mut damaged = intact.clone();
        damaged[at] ^= 0x10;
        fs::write(folder.path().join("state.db"), damaged).expect("room");
        let loaded = Store::open(folder.path(), "state.db").and_then(|store| {
            let loaded = store.load("flat", 3, false);
            store.close();
            loaded
        });
        match loaded {
            Ok((_, Some(checkpoint))) => {
                let tick = checkpoint.progress.first_open();
                assert_eq!(values(&checkpoint), expected(tick), "byte {at}");
                *(if tick == 40 { &mut n_latest } else { &mut n_earlier }) += 1;
            }
            Ok((session, None)) => panic!("byte {at}: {session:?} forgot everything"),
            Err(_) => n_refused += 1,
        }
    }
    assert!(n_latest > 0 && n_refused > 0, "{n_latest} {n_earlier} {n_refused}");
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, _) = begin(&store);
    for nth in 1..=3_u8 {
        session
            .commit((u64::from(nth) * 10).into(), &changes(&[("a", 1, Some(nth))]))
            .expect("room");
    }
    let damage = "UPDATE checkpoints SET body = $1 WHERE tick >= $2";
    let damage = |from: i64| {
        let damage = sqlx::query(damage).bind(vec![1_u8, 2, 3]).bind(from);
        store.handle.block_on(damage.execute(&store.handle.pool)).expect("it is open");
    };
    damage(30);
    let (_, checkpoint) = begin(&store);
    let checkpoint = checkpoint.expect("two are intact");
    assert_eq!((checkpoint.progress, values(&checkpoint)), (20.into(), vec![(1, 2)]));
    damage(0);
    let error = store.load("flat", 3, false).expect_err("nothing is intact");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn decisions_are_stored_until_a_checkpoint_is_beyond_them() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (mut session, _) = begin(&store);
    let decisions = session.decisions();
    let idle = |offset, clock| Decision { offset, clock, kind: DecisionKind::Idle };
    let refused = Decision { kind: DecisionKind::Refused, ..idle(7, 90) };
    for decision in [idle(3, 50), idle(3, 60), refused, idle(7, 90)] {
        decisions.store("boards", "0", decision).expect("it is the newest run");
    }
    decisions.store("boards", "1", idle(1, 95)).expect("it is the newest run");
    let stored = |session: &Session| session.decisions().stored("boards", "0").expect("it is open");
    assert_eq!(stored(&session), [idle(3, 60), idle(7, 90), refused]);
    // Three checkpoints are retained, and a run may start from each.
    for tick in [90, 91, 92] {
        session.commit(tick.into(), &changes(&[("a", 1, Some(1))])).expect("room");
    }
    assert_eq!(stored(&session), [idle(7, 90), refused], "a run may start at 90");
    let (fresh, _) = store.load("flat", 3, true).expect("it is intact");
    assert!(stored(&fresh).is_empty(), "a run that starts anew has none of them");
    assert_eq!(stored(&begin(&store).0), [idle(7, 90), refused]);
    let error = decisions.store("boards", "0", idle(8, 99)).expect_err("a later run has begun");
    assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
}

#[test]
fn one_holder_has_the_lease() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (first, second) = (store.lease("flat"), store.lease("flat"));
    assert_eq!(first.read().expect("it is open"), None);
    assert!(first.take(None).expect("it is open"));
    assert!(!second.take(None).expect("it is open"), "it is taken");
    let read = || second.read().expect("it is open").expect("it is there");
    let before = read();
    assert!(first.is_own(&before) && !second.is_own(&before) && !before.is_gone());
    assert_eq!(first.beat(None).expect("it is open"), Beat::Held);
    assert!(!second.take(Some(&before)).expect("it is open"), "its holder lives");
    assert_eq!(second.beat(None).expect("it is open"), Beat::Elsewhere);
    second.ask(&read()).expect("it is open");
    assert!(matches!(first.beat(None).expect("it is open"), Beat::Asked(_)));
    first.release().expect("it is open");
    assert!(second.is_own(&read()), "it was passed on");
    second.release().expect("it is open");
    assert!(read().is_free());
    assert!(first.take(Some(&read())).expect("it is open"), "nobody has it");
}

/// A holder that slept takes its lease back if the waiting process released it before its run began.
#[test]
fn a_lease_ends_with_its_run() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    let (first, second) = (store.lease("flat"), store.lease("flat"));
    let (session, _) = begin(&store);
    let generation = Some(session.generation());
    assert!(first.take(None).expect("it is open"));
    let asleep = first.read().expect("it is open");
    assert!(second.take(asleep.as_ref()).expect("it is open"));
    assert_eq!(first.beat(generation).expect("it may go on"), Beat::Elsewhere);
    second.release().expect("it is open");
    assert_eq!(first.beat(generation).expect("it may go on"), Beat::Held);
    drop(begin(&store));
    let error = first.beat(generation).expect_err("a newer run has begun");
    assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
}

/// A server drops its handles on threads of its runtime.
#[test]
fn a_store_can_be_asked_and_dropped_within_a_runtime() {
    let directory = tempfile::tempdir().expect("room");
    let store = open(&directory);
    begin(&store).0.commit(10.into(), &changes(&[("a", 1, Some(1))])).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let listed = runtime.expect("a runtime").block_on(async {
        let handle = store.handle();
        let listed = handle.list().await;
        drop(store);
        listed
    });
    assert_eq!(listed.expect("it is open").len(), 1);
}
