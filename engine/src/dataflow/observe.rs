//! The cost of each component, from timely's log.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use schemas::Tick;
use timely::dataflow::Scope;
use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use crate::Counters;

/// The component of each operator. An operator belongs to the component that began last before its
/// creation.
#[derive(Clone, Default)]
pub(super) struct Owners(Rc<RefCell<Vec<(usize, String)>>>);

impl Owners {
    /// Begins a component: operators that are created from now on belong to it.
    pub(super) fn begin(&self, scope: Scope<'_, Tick>, component: &str) {
        self.0.borrow_mut().push((scope.worker().peek_identifier(), component.to_owned()));
    }

    /// The component of an operator, if it has one.
    fn of(&self, operator: usize) -> Option<String> {
        let owners = self.0.borrow();
        let behind = owners.partition_point(|(first, _)| *first <= operator);
        Some(owners[behind.checked_sub(1)?].1.clone())
    }
}

/// Counts the busy time of the worker's operators from now on.
pub(super) fn observe(worker: &Worker, counters: &Arc<Counters>) -> Owners {
    let owners = Owners::default();
    let mut log = Log { owners: owners.clone(), ..Log::default() };
    let counters = Arc::clone(counters);
    if let Some(mut registry) = worker.log_register() {
        registry.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (at, event) in events.iter_mut().flat_map(|events| events.drain(..)) {
                log.read(at, &event);
            }
            for (component, busy) in std::mem::take(&mut log.busy) {
                counters.busy(&component, busy);
            }
        });
    }
    owners
}

/// The state of the log's reader.
#[derive(Default)]
struct Log {
    owners: Owners,
    /// The component of each operator, by its identifier.
    operators: HashMap<usize, String>,
    started: HashMap<usize, Duration>,
    /// Busy time of each component since it was last counted.
    busy: BTreeMap<String, Duration>,
}

impl Log {
    fn read(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            TimelyEvent::Operates(made) => {
                self.operators.extend(self.owners.of(made.id).map(|owner| (made.id, owner)));
            }
            TimelyEvent::Schedule(turn) => match turn.start_stop {
                StartStop::Start => drop(self.started.insert(turn.id, at)),
                StartStop::Stop => {
                    let started = self.started.remove(&turn.id);
                    if let Some((component, started)) = self.operators.get(&turn.id).zip(started) {
                        let busy = self.busy.entry(component.clone()).or_default();
                        *busy += at.saturating_sub(started);
                    }
                }
            },
            _ => {}
        }
    }
}
