//! State by key, with limits, and with the changes since the last save.
//!
//! Keys such as addresses and sites are external, so their number is unbounded. A key expires after a time to
//! live without a record. If there are too many keys, the least recently used ones are evicted. Both depend
//! on the input alone: time is that of closed ticks, and the limit is per key group, which is on one worker
//! for any number of workers.
//!
//! Source: P. Carbone et al., "State management in Apache Flink", VLDB 2017 (key groups).

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::mem;

use foldhash::fast::RandomState;
use schemas::{Link, Tick, stable_hash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Change;

/// Groups that keys are hashed into; workers beyond this number would have no keys.
pub(crate) const N_KEY_GROUPS: usize = 128;

/// An hour of event time.
pub(crate) const HOUR_MS: u64 = 60 * 60 * 1000;
/// A day of event time.
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// Returns the key group of a route.
pub(crate) fn key_group(route: u64) -> usize {
    (route % N_KEY_GROUPS as u64) as usize
}

/// The key of state, on the worker that its records are routed to.
pub trait StateKey: Clone + Ord + Hash + Serialize + DeserializeOwned + 'static {
    /// Returns the route of the key, the same as for its records.
    fn route(&self) -> u64;
}

impl StateKey for Link {
    fn route(&self) -> u64 {
        stable_hash(&[&self.site, &self.receiver, &self.transmitter])
    }
}

/// The key of a site, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct SiteName(pub(crate) String);

impl StateKey for SiteName {
    fn route(&self) -> u64 {
        stable_hash(&[&self.0])
    }
}

/// The limits of state: time to live without a record, and number of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLimits {
    /// Event time from a key's last record until it expires; None if the operator removes keys itself.
    pub(crate) time_to_live_ms: Option<u64>,
    /// The most keys of a key group. At the end of a tick, the least recently used keys above it are evicted.
    pub(crate) max_keys_per_group: usize,
}

impl StateLimits {
    /// The limits of an operator without state.
    pub(crate) const NO_STATE: Self = Self { time_to_live_ms: None, max_keys_per_group: 1 };
}

/// State by key, with the last use and the changes of each key.
#[derive(Debug)]
pub(crate) struct Keyed<K, S> {
    /// By key group.
    groups: Vec<KeyGroup<K, S>>,
    /// Saved keys that were removed since the last call of [`Keyed::take_changes`].
    removed: HashSet<K, RandomState>,
    /// The current tick.
    now: Tick,
}

#[derive(Debug)]
struct KeyGroup<K, S> {
    entries: HashMap<K, Entry<S>, RandomState>,
    /// No entry was last used before this tick.
    oldest: Tick,
}

#[derive(Debug)]
struct Entry<S> {
    state: S,
    used_at: Tick,
    /// True if the current state is not saved.
    changed: bool,
    /// True if the key is saved, possibly with an older state.
    saved: bool,
}

/// The saved part of an entry.
#[derive(Serialize, Deserialize)]
struct Saved<S> {
    used_at: Tick,
    state: S,
}

impl<K, S> Default for Keyed<K, S> {
    fn default() -> Self {
        let group = || KeyGroup { entries: HashMap::default(), oldest: Tick::MAX };
        let groups = std::iter::repeat_with(group).take(N_KEY_GROUPS).collect();
        Self { groups, removed: HashSet::default(), now: 0 }
    }
}

impl<K: StateKey, S> Keyed<K, S> {
    /// Sets the current tick.
    pub(crate) fn advance_to(&mut self, tick: Tick) {
        self.now = tick;
    }

    /// Returns the state of a key, and marks it as used and changed. Makes the state if there is none.
    pub(crate) fn change(&mut self, key: &K, make: impl FnOnce() -> S) -> &mut S {
        let now = self.now;
        let group = &mut self.groups[key_group(key.route())];
        if !group.entries.contains_key(key) {
            let entry = Entry { state: make(), used_at: now, changed: true, saved: false };
            group.insert(key.clone(), entry);
        }
        let entry = group.entries.get_mut(key).expect("it was inserted if it was not there");
        (entry.used_at, entry.changed) = (now, true);
        &mut entry.state
    }

    /// Removes a key, and returns its state.
    pub(crate) fn remove(&mut self, key: &K) -> Option<S> {
        let entry = self.groups[key_group(key.route())].entries.remove(key)?;
        if entry.saved {
            self.removed.insert(key.clone());
        }
        Some(entry.state)
    }

    /// Returns all keys and their states, in any order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.groups.iter().flat_map(KeyGroup::iter)
    }

    /// Returns the keys of a route's group and their states, in any order.
    pub(crate) fn iter_group(&self, route: u64) -> impl Iterator<Item = (&K, &S)> {
        self.groups[key_group(route)].iter()
    }

    /// Removes and returns the keys of `groups` that were not used for `time_to_live_ms`.
    pub(crate) fn expire(
        &mut self,
        time_to_live_ms: u64,
        groups: impl IntoIterator<Item = usize>,
    ) -> Vec<(K, S)> {
        let now = self.now;
        let is_expired = |used_at: Tick| used_at.saturating_add(time_to_live_ms) <= now;
        let mut expired = Vec::new();
        for group in groups {
            if is_expired(self.groups[group].oldest) {
                expired.extend(self.groups[group].least_recent(is_expired));
            }
        }
        self.take(expired)
    }

    /// Removes and returns the least recently used keys of groups with more than `max_keys_per_group`.
    pub(crate) fn evict(&mut self, max_keys_per_group: usize) -> Vec<(K, S)> {
        let crowded = self.groups.iter().filter(|group| group.entries.len() > max_keys_per_group);
        let evicted = crowded.flat_map(|group| group.excess(max_keys_per_group));
        let evicted = evicted.collect();
        self.take(evicted)
    }

    fn take(&mut self, keys: Vec<K>) -> Vec<(K, S)> {
        let taken = keys.into_iter().filter_map(|key| {
            let state = self.remove(&key)?;
            Some((key, state))
        });
        taken.collect()
    }
}

impl<K: StateKey, S> KeyGroup<K, S> {
    fn insert(&mut self, key: K, entry: Entry<S>) {
        self.oldest = self.oldest.min(entry.used_at);
        self.entries.insert(key, entry);
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.state))
    }

    /// Returns the keys whose last use fits, the earliest first. Sets `oldest` to the earliest use of the
    /// others.
    fn least_recent(&mut self, fits: impl Fn(Tick) -> bool) -> Vec<K> {
        let (fitting, others): (Vec<_>, Vec<_>) =
            self.entries.iter().map(by_use).partition(|(used_at, _)| fits(*used_at));
        let oldest = others.iter().map(|(used_at, _)| *used_at).min();
        let keys = in_order(fitting);
        self.oldest = oldest.unwrap_or(Tick::MAX);
        keys
    }

    /// Returns the least recently used keys beyond `max_keys`.
    fn excess(&self, max_keys: usize) -> Vec<K> {
        let mut by_use: Vec<_> = self.entries.iter().map(by_use).collect();
        let n_excess = by_use.len().saturating_sub(max_keys);
        if n_excess < by_use.len() {
            by_use.select_nth_unstable(n_excess);
            by_use.truncate(n_excess);
        }
        in_order(by_use)
    }
}

fn by_use<'a, K, S>((key, entry): (&'a K, &'a Entry<S>)) -> (Tick, &'a K) {
    (entry.used_at, key)
}

/// Sorts by last use, then by key.
fn in_order<K: StateKey>(mut by_use: Vec<(Tick, &K)>) -> Vec<K> {
    by_use.sort_unstable();
    by_use.into_iter().map(|(_, key)| key.clone()).collect()
}

impl<K: StateKey, S: DeserializeOwned> Keyed<K, S> {
    /// Restores a saved key.
    ///
    /// # Panics
    ///
    /// If the state is of another shape; shapes are compared before anything is restored.
    pub(crate) fn restore(&mut self, key: K, saved: &[u8]) {
        let Saved { used_at, state } =
            postcard::from_bytes(saved).expect("the shape of the state was compared");
        let entry = Entry { state, used_at, changed: false, saved: true };
        self.groups[key_group(key.route())].insert(key, entry);
    }
}

impl<K: StateKey, S: Serialize> Keyed<K, S> {
    /// Returns the changes since the last call, in any order, each key once.
    pub(crate) fn take_changes(&mut self, component: u32) -> Vec<Change> {
        let change = |key: &K, value| Change { component, key: encode(key), value };
        let Self { groups, removed, .. } = self;
        let gone =
            removed.drain().filter(|key| !groups[key_group(key.route())].entries.contains_key(key));
        let mut changes: Vec<_> = gone.map(|key| change(&key, None)).collect();
        for (key, entry) in groups.iter_mut().flat_map(|group| &mut group.entries) {
            if mem::take(&mut entry.changed) {
                entry.saved = true;
                let saved = Saved { used_at: entry.used_at, state: &entry.state };
                changes.push(change(key, Some(encode(&saved))));
            }
        }
        changes
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("state has only what postcard knows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    struct Key(u64);

    impl StateKey for Key {
        fn route(&self) -> u64 {
            self.0
        }
    }

    /// The changed keys and their saved states, in order.
    fn changes(state: &mut Keyed<Key, u8>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let changes = state.take_changes(0).into_iter();
        let mut changes: Vec<_> = changes.map(|change| (change.key, change.value)).collect();
        changes.sort();
        changes
    }

    fn keys(taken: &[(Key, u8)]) -> Vec<u64> {
        taken.iter().map(|(key, _)| key.0).collect()
    }

    /// The state after each key was used at its tick.
    fn used(uses: &[(Tick, u64)]) -> Keyed<Key, u8> {
        let mut state = Keyed::default();
        for (tick, key) in uses {
            state.advance_to(*tick);
            state.change(&Key(*key), || 0);
        }
        state
    }

    #[test]
    fn only_what_changed_is_saved() {
        let mut state = Keyed::<Key, u8>::default();
        state.advance_to(9);
        *state.change(&Key(1), || 0) = 5;
        *state.change(&Key(1), || 0) += 1;
        state.change(&Key(2), || 7);
        assert_eq!(changes(&mut state), [(vec![1], Some(vec![9, 6])), (vec![2], Some(vec![9, 7]))]);
        assert!(changes(&mut state).is_empty());
        state.remove(&Key(1));
        assert_eq!(changes(&mut state), [(vec![1], None)]);
        state.remove(&Key(2));
        state.change(&Key(2), || 9);
        assert_eq!(changes(&mut state), [(vec![2], Some(vec![9, 9]))], "once");
        state.change(&Key(3), || 1);
        state.remove(&Key(3));
        assert!(changes(&mut state).is_empty(), "there was nothing to take back");
    }

    #[test]
    fn a_key_that_is_not_used_expires() {
        let mut state = used(&[(10, 1), (15, 2), (20, 3), (25, 1)]);
        state.advance_to(29);
        assert!(state.expire(15, 0..N_KEY_GROUPS).is_empty(), "none is that old");
        state.advance_to(30);
        assert!(state.expire(15, [1, 3]).is_empty(), "it is of another group");
        assert_eq!(keys(&state.expire(15, 0..N_KEY_GROUPS)), [2]);
        state.advance_to(40);
        assert_eq!(keys(&state.expire(15, 0..N_KEY_GROUPS)), [1, 3]);
        assert!(state.iter().next().is_none());
    }

    #[test]
    fn the_least_recently_used_keys_of_a_group_are_evicted() {
        let groups = N_KEY_GROUPS as u64;
        let of_one_group = |nth: u64| nth * groups;
        let uses = [(10, 0), (10, 1), (10, 2), (20, 3), (30, 0)];
        let mut state = used(&uses.map(|(tick, nth)| (tick, of_one_group(nth))));
        state.change(&Key(7), || 0);
        assert!(state.evict(4).is_empty());
        assert_eq!(keys(&state.evict(3)), [of_one_group(1)], "of those that tie, the first by key");
        assert_eq!(keys(&state.evict(1)), [of_one_group(2), of_one_group(3)]);
        let mut left: Vec<_> = state.iter().map(|(key, _)| key.0).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 7]);
    }

    #[test]
    fn a_restored_key_is_as_old_as_it_was() {
        let mut state = used(&[(10, 1), (20, 2)]);
        let saved = changes(&mut state);
        let mut restored = Keyed::<Key, u8>::default();
        for (key, value) in saved {
            restored.restore(Key(key[0].into()), &value.expect("both are there"));
        }
        restored.advance_to(25);
        assert_eq!(keys(&restored.expire(15, 0..N_KEY_GROUPS)), [1]);
        assert_eq!(changes(&mut restored), [(vec![1], None)]);
    }
}
