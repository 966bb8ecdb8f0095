//! What each component's operators cost, and how much they send on, from timely's own log.

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

/// Which operators belong to which component: those that were made since it began.
#[derive(Clone, Default)]
pub(super) struct Owners(Rc<RefCell<Vec<(usize, String)>>>);

impl Owners {
    /// Says that a component's operators are made from now on.
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

/// Counts what the worker's operators do from now on.
pub(super) fn observe(worker: &Worker, counters: &Arc<Counters>) -> Owners {
    let owners = Owners::default();
    let mut log = Log { owners: owners.clone(), ..Log::default() };
    let counters = Arc::clone(counters);
    if let Some(mut registry) = worker.log_register() {
        registry.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (at, event) in events.iter_mut().flat_map(|events| events.drain(..)) {
                log.read(at, &event);
            }
            for (component, Work { busy, sent }) in std::mem::take(&mut log.work) {
                counters.work(&component, busy, sent);
            }
        });
    }
    owners
}

/// What was done since it was last counted.
#[derive(Default)]
struct Work {
    busy: Duration,
    sent: u64,
}

/// What is known from the log.
#[derive(Default)]
struct Log {
    owners: Owners,
    /// The component of each operator, by its identifier, and by its place in a scope.
    operators: HashMap<usize, String>,
    places: HashMap<Vec<usize>, String>,
    /// The places that each channel is between; they are made after it.
    between: HashMap<usize, [Vec<usize>; 2]>,
    /// The component that each channel leads out of, if it does.
    channels: HashMap<usize, Option<String>>,
    started: HashMap<usize, Duration>,
    work: BTreeMap<String, Work>,
}

impl Log {
    fn read(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            TimelyEvent::Operates(made) => {
                if let Some(owner) = self.owners.of(made.id) {
                    self.operators.insert(made.id, owner.clone());
                    self.places.insert(made.addr.clone(), owner);
                }
            }
            TimelyEvent::Channels(made) => {
                let place = |operator| [made.scope_addr.as_slice(), &[operator]].concat();
                self.between.insert(made.id, [place(made.source.0), place(made.target.0)]);
            }
            TimelyEvent::Messages(message) if message.is_send => {
                if let Some(component) = self.leads_out_of(message.channel) {
                    let work = self.work.entry(component).or_default();
                    work.sent += message.record_count.max(0).unsigned_abs();
                }
            }
            TimelyEvent::Schedule(turn) => match turn.start_stop {
                StartStop::Start => drop(self.started.insert(turn.id, at)),
                StartStop::Stop => {
                    let started = self.started.remove(&turn.id);
                    if let Some((component, started)) = self.operators.get(&turn.id).zip(started) {
                        let work = self.work.entry(component.clone()).or_default();
                        work.busy += at.saturating_sub(started);
                    }
                }
            },
            _ => {}
        }
    }

    fn leads_out_of(&mut self, channel: usize) -> Option<String> {
        let Self { between, channels, places, .. } = self;
        let leads_out_of = channels.entry(channel).or_insert_with(|| {
            let [from, to] = between.get(&channel)?;
            let [from, to] = [places.get(from), places.get(to)];
            from.filter(|from| Some(*from) != to).cloned()
        });
        leads_out_of.clone()
    }
}
