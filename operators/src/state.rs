//! Where the state of operators comes from and goes to.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use schemas::{Granule, Progress, Tick, TickLength};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::progress::frontier::MutableAntichain;

use crate::StateKey;
use crate::keyed::{Keyed, key_group};

/// A change of what a component remembers. Its time is the end of a granule: once the frontier is
/// beyond it, all changes of the granule are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The component's position in the plan.
    pub component: u32,
    /// What the state belongs to.
    pub key: Vec<u8>,
    /// The state from now on; none if it is forgotten.
    pub value: Option<Vec<u8>>,
}

/// Where the state of one operator comes from and goes to.
#[derive(Clone)]
pub struct Saving<'scope> {
    /// The operator's position in the plan.
    pub component: u32,
    /// How often changes are saved.
    pub granule: Granule,
    /// Where time starts: everything before is done with.
    pub starts_at: Tick,
    /// Keys and states as of then, of all workers.
    pub restored: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    /// Where to put the stream of changes.
    pub changes: Changes<'scope>,
    /// Where sources stopped before their end: what is open then stays open.
    pub stopped: Stopped,
}

/// The streams of changes of a dataflow.
pub type Changes<'scope> = Rc<RefCell<Vec<StreamVec<'scope, Tick, Change>>>>;

/// Where the input stopped before its end, if it did. To a frontier both look the same: once sources
/// have let go of time, it tells nothing of what they would still have given.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Rc<Cell<Option<Tick>>>);

impl Stopped {
    /// Says that there would be more from this tick on; to be called before a source lets go of time.
    pub fn set(&self, tick: Tick) {
        self.0.set(Some(tick));
    }

    /// True if the input stopped before its end, and a frontier has come to where.
    pub fn over(&self, frontier: &MutableAntichain<Tick>) -> bool {
        self.0.get().is_some_and(|stopped| !frontier.less_than(&stopped))
    }

    /// How far a frontier has come: no further than to where the input stopped.
    pub fn reached(&self, frontier: &MutableAntichain<Tick>) -> Progress {
        let first = frontier.frontier().first().copied();
        let reached = first.map_or(Progress::Ended, Progress::Reached);
        self.0.get().map_or(reached, |stopped| reached.min(stopped.into()))
    }
}

impl Saving<'_> {
    /// Saves nowhere and starts from nothing.
    pub fn nowhere() -> Self {
        Self {
            component: 0,
            granule: Granule::new(1000, TickLength::from_ms(1)),
            starts_at: 0,
            restored: Arc::default(),
            changes: Rc::default(),
            stopped: Stopped::default(),
        }
    }

    /// The same, starting from nothing.
    #[must_use]
    pub(crate) fn stateless(&self) -> Self {
        Self { restored: Arc::default(), ..self.clone() }
    }

    /// The restored state of the keys that are routed to this worker.
    ///
    /// # Panics
    ///
    /// If the state is of another shape; shapes are compared before anything is restored.
    pub(crate) fn restore<K: StateKey, S: DeserializeOwned>(
        &self,
        index: usize,
        peers: usize,
    ) -> Keyed<K, S> {
        let mut keyed = Keyed::default();
        for (key, state) in &*self.restored {
            let key: K = postcard::from_bytes(key).expect("the shape of the key was compared");
            if key_group(key.route()) % peers == index {
                keyed.restore(key, state);
            }
        }
        keyed
    }
}

impl fmt::Debug for Saving<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Saving")
            .field("component", &self.component)
            .field("granule", &self.granule)
            .field("starts_at", &self.starts_at)
            .finish_non_exhaustive()
    }
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

    #[test]
    fn a_key_is_restored_where_its_records_go() {
        let restored = (0..10_u8).map(|key| (vec![key], vec![0, key + 100])).collect();
        let saving = Saving { restored: Arc::new(restored), ..Saving::nowhere() };
        let of = |index| {
            let state: Keyed<Key, u8> = saving.restore(index, 3);
            let mut keys: Vec<_> = state.iter().map(|(key, state)| (key.0, *state)).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(of(1), [(1, 101), (4, 104), (7, 107)]);
        assert_eq!(of(0).len() + of(1).len() + of(2).len(), 10);
    }
}
