//! What was committed is loaded, whatever happened to the file.

use std::fs;

use sources::{Silence, SourceError};
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

fn begin(directory: &TempDir) -> (Session, Option<Checkpoint>) {
    let store = Store::open(directory.path(), "state.db").expect("a file can be made");
    store.begin("flat", 3, false).expect("the store is intact")
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
    let (mut session, nothing) = begin(&directory);
    assert!(nothing.is_none());
    session.commit(10, &changes(&[("a", 1, Some(1)), ("a", 2, Some(2))])).expect("room");
    session.commit(20, &changes(&[("a", 1, Some(3)), ("b", 9, Some(9))])).expect("room");
    session.commit(30, &changes(&[("a", 2, None)])).expect("room");
    drop(session);
    let (session, checkpoint) = begin(&directory);
    let checkpoint = checkpoint.expect("it was committed");
    assert_eq!((checkpoint.tick, values(&checkpoint)), (30, vec![(1, 3)]));
    let lineage = session.lineage().to_owned();
    drop(session);
    let store = Store::open(directory.path(), "state.db").expect("it is there");
    let (fresh, nothing) = store.begin("flat", 3, true).expect("it is intact");
    assert!(nothing.is_none() && fresh.lineage() != lineage);
}

#[test]
fn an_earlier_run_cannot_commit() {
    let directory = tempfile::tempdir().expect("room");
    let (mut first, _) = begin(&directory);
    first.commit(10, &changes(&[("a", 1, Some(1))])).expect("room");
    let (mut second, checkpoint) = begin(&directory);
    assert_eq!(checkpoint.expect("it was committed").tick, 10);
    let error = first.commit(20, &State::default()).expect_err("it was taken over");
    assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
    second.commit(20, &State::default()).expect("it is the newest");
}

#[test]
fn many_checkpoints_take_little_room() {
    let directory = tempfile::tempdir().expect("room");
    let (mut session, _) = begin(&directory);
    for nth in 1..=600 {
        let oldest = session.commit(nth * 10, &changes(&[("a", (nth % 7) as u8, Some(1))]));
        assert_eq!(oldest.expect("room"), (nth * 10).saturating_sub(20).max(10));
    }
    drop(session);
    let store = Store::open(directory.path(), "state.db").expect("it is there");
    let listed = store.list().expect("it is intact");
    assert!(listed.len() <= MAX_DELTAS + 4, "{} are kept", listed.len());
    assert_eq!(listed.last().expect("the newest").tick, 6000);
    let checkpoint = store.inspect("flat", Some(5995)).expect("it is intact").expect("it is kept");
    assert_eq!((checkpoint.tick, values(&checkpoint).len()), (5990, 7));
}

/// Whichever byte of the file flips: an intact checkpoint is loaded, or none, but no wrong one.
#[test]
fn a_flipped_bit_is_never_believed() {
    let directory = tempfile::tempdir().expect("room");
    let (mut session, _) = begin(&directory);
    for nth in 1..=4_u8 {
        let tick = u64::from(nth) * 10;
        session
            .commit(tick, &changes(&[("a", 1, Some(nth)), ("a", 10 + nth, Some(nth))]))
            .expect("room");
    }
    drop(session);
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
        let loaded =
            Store::open(folder.path(), "state.db").and_then(|store| store.begin("flat", 3, false));
        match loaded {
            Ok((_, Some(checkpoint))) => {
                assert_eq!(values(&checkpoint), expected(checkpoint.tick), "byte {at}");
                *(if checkpoint.tick == 40 { &mut n_latest } else { &mut n_earlier }) += 1;
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
    let (mut session, _) = begin(&directory);
    for nth in 1..=3_u8 {
        session.commit(u64::from(nth) * 10, &changes(&[("a", 1, Some(nth))])).expect("room");
    }
    let damage = "UPDATE checkpoints SET body = $1 WHERE tick >= $2";
    let damage = |session: &Session, from: i64| {
        let damage = sqlx::query(damage).bind(vec![1_u8, 2, 3]).bind(from);
        session.store.runtime.block_on(damage.execute(&session.store.pool)).expect("it is open");
    };
    damage(&session, 30);
    drop(session);
    let (session, checkpoint) = begin(&directory);
    let checkpoint = checkpoint.expect("two are intact");
    assert_eq!((checkpoint.tick, values(&checkpoint)), (20, vec![(1, 2)]));
    damage(&session, 0);
    drop(session);
    let store = Store::open(directory.path(), "state.db").expect("it is there");
    let error = store.begin("flat", 3, false).expect_err("nothing is intact");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn silences_are_kept_until_a_checkpoint_is_beyond_them() {
    let directory = tempfile::tempdir().expect("room");
    let (mut session, _) = begin(&directory);
    let silences = session.silences();
    let silence = |offset, clock| Silence { offset, clock };
    for kept in [silence(3, 50), silence(3, 60), silence(7, 90)] {
        silences.keep("boards", "0", kept).expect("it is the newest run");
    }
    silences.keep("boards", "1", silence(1, 95)).expect("it is the newest run");
    let kept = |session: &Session| session.silences().kept("boards", "0").expect("it is open");
    assert_eq!(kept(&session), [silence(3, 60), silence(7, 90)]);
    // Three checkpoints are kept, each of which may be started from.
    for tick in [90, 91, 92] {
        session.commit(tick, &changes(&[("a", 1, Some(1))])).expect("room");
    }
    assert_eq!(kept(&session), [silence(7, 90)], "at 90 the clock may still be looked up");
    assert_eq!(kept(&begin(&directory).0), [silence(7, 90)]);
    let error = silences.keep("boards", "0", silence(8, 99)).expect_err("a later run has begun");
    assert!(matches!(error, SourceError::Silence { .. }), "{error}");
}
