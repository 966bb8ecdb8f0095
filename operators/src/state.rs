//! State handling of operators: restored state, and the changes that checkpoints save.

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

/// A change of a component's state. Its timestamp is the end of a granule: once the frontier has passed it,
/// all changes of the granule have arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The component's position in the plan.
    pub component: u32,
    /// The key, as postcard.
    pub key: Vec<u8>,
    /// The new state, as postcard; None if the key was removed.
    pub value: Option<Vec<u8>>,
}

/// The state handle of one operator: restored state in, changes out.
#[derive(Clone)]
pub struct StateContext<'scope> {
    /// The operator's position in the plan.
    pub component: u32,
    /// The granule of saved changes.
    pub granule: Granule,
    /// The first tick of the run; every checkpoint contains everything before it.
    pub starts_at: Tick,
    /// Keys and states at that tick, of all workers.
    pub restored: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    /// Receives the stream of changes.
    pub changes: Changes<'scope>,
    /// The tick of a stop before the end of the input; open state stays open there.
    pub stop_point: StopPoint,
}

/// The streams of changes of a dataflow.
pub type Changes<'scope> = Rc<RefCell<Vec<StreamVec<'scope, Tick, Change>>>>;

/// The tick at which the input stops before its end, if it does. A frontier cannot distinguish a stop from
/// the end: it is empty once sources have dropped their capabilities.
#[derive(Clone, Debug, Default)]
pub struct StopPoint(Rc<Cell<Option<Tick>>>);

impl StopPoint {
    /// Sets the tick. The call must precede the drop of a source's capabilities.
    pub fn set(&self, tick: Tick) {
        self.0.set(Some(tick));
    }

    /// True if the input stops before its end, and a frontier has reached the tick.
    pub fn over(&self, frontier: &MutableAntichain<Tick>) -> bool {
        self.0.get().is_some_and(|tick| !frontier.less_than(&tick))
    }

    /// Returns the progress of a frontier, at most to the tick.
    pub fn reached(&self, frontier: &MutableAntichain<Tick>) -> Progress {
        let first = frontier.frontier().first().copied();
        let reached = first.map_or(Progress::Ended, Progress::Reached);
        self.0.get().map_or(reached, |tick| reached.min(tick.into()))
    }
}

impl StateContext<'_> {
    /// Returns a handle that saves nothing and starts without state.
    pub fn nowhere() -> Self {
        Self {
            component: 0,
            granule: Granule::new(1000, TickLength::from_ms(1)),
            starts_at: 0,
            restored: Arc::default(),
            changes: Rc::default(),
            stop_point: StopPoint::default(),
        }
    }

    /// Returns the same handle without restored state.
    #[must_use]
    pub(crate) fn stateless(&self) -> Self {
        Self { restored: Arc::default(), ..self.clone() }
    }

    /// Returns the restored state of the keys that are routed to this worker.
    ///
    /// # Panics
    ///
    /// If the state has another shape; shapes are compared before anything is restored.
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

impl fmt::Debug for StateContext<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StateContext")
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
        let state = StateContext { restored: Arc::new(restored), ..StateContext::nowhere() };
        let of = |index| {
            let state: Keyed<Key, u8> = state.restore(index, 3);
            let mut keys: Vec<_> = state.iter().map(|(key, state)| (key.0, *state)).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(of(1), [(1, 101), (4, 104), (7, 107)]);
        assert_eq!(of(0).len() + of(1).len() + of(2).len(), 10);
    }
}
