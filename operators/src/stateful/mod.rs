//! Stateful operators. An operator processes a tick once the frontier has passed it, with its records sorted.
//! So its results do not depend on batching or on the number of workers. Changes of state are sent as a
//! stream, a granule at a time, and restored after a restart. Keys expire by the operator's limits.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Drain;

use schemas::{Granule, Progress, RecordType, Tick};
use serde::Serialize;
use serde::de::DeserializeOwned;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::keyed::{Keyed, N_KEY_GROUPS, StateLimits, key_group};
use crate::{Change, ClosedTicks, Context, CountDropped, StateKey};

/// An operator that processes closed ticks.
pub(crate) trait Stateful: 'static {
    /// The input.
    type Input: ExchangeData + Ordered;
    /// The output.
    type Output: 'static;
    /// The key of state.
    type Key: StateKey;
    /// The state of a key.
    type State: Serialize + DeserializeOwned + 'static;

    /// The limits of state: time to live and number of keys.
    const LIMITS: StateLimits;
    /// True if [`Stateful::on_evict`] sends output. Keys then expire with a record of their key group, whose
    /// tick is the same with any number of workers; other keys expire with any record.
    const EMITS_ON_EVICT: bool = false;

    /// Returns the route of a record, which is the route of its key.
    fn route(input: &Self::Input) -> u64;

    /// Processes the records of a closed tick, which are sorted. Outputs are sent at that tick.
    fn on_tick(&mut self, tick: Tick, inputs: Vec<Self::Input>, work: &mut Work<'_, Self>);

    /// Acts on a timer, before the records of its tick. All earlier records and timers have been processed.
    fn on_timer(&mut self, _tick: Tick, _work: &mut Work<'_, Self>) {}

    /// Acts on an evicted key and its last state: cancels its timers, and retracts its output.
    fn on_evict(
        &mut self,
        _tick: Tick,
        _key: &Self::Key,
        _state: &Self::State,
        _work: &mut Work<'_, Self>,
    ) {
    }

    /// Acts on restored state at the last tick before the start: sets its timers, or fills collections
    /// outside the state.
    fn on_restore(&mut self, _tick: Tick, _work: &mut Work<'_, Self>) {}
}

/// An order within a tick that does not depend on batches.
pub(crate) trait Ordered {
    /// Compares two records of one tick.
    fn compare(&self, other: &Self) -> Ordering;
}

impl<R: RecordType> Ordered for R {
    fn compare(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

/// The state, outputs and timers of an operator.
pub(crate) struct Work<'a, O: Stateful + ?Sized> {
    /// The state.
    pub(crate) state: &'a mut Keyed<O::Key, O::State>,
    /// The output.
    pub(crate) outputs: &'a mut Vec<O::Output>,
    timers: &'a mut BTreeMap<Tick, Capabilities>,
    capabilities: &'a Capabilities,
}

impl<O: Stateful + ?Sized> Work<'_, O> {
    /// Sets a timer: [`Stateful::on_timer`] runs at this tick, which must not be over.
    pub(crate) fn set_timer(&mut self, tick: Tick) {
        self.timers.entry(tick).or_insert_with(|| self.capabilities.delayed(tick));
    }

    /// Cancels the timer of a tick.
    pub(crate) fn cancel_timer(&mut self, tick: Tick) {
        self.timers.remove(&tick);
    }
}

/// The capabilities of a tick, for results and for changes.
struct Capabilities {
    outputs: Capability<Tick>,
    changes: Capability<Tick>,
}

impl Capabilities {
    fn delayed(&self, tick: Tick) -> Self {
        Self { outputs: self.outputs.delayed(&tick), changes: self.changes.delayed(&tick) }
    }
}

/// A tick to process, with its records; None for a timer.
type Turn<R> = (Tick, Capabilities, Option<Vec<R>>);

/// Runs an operator on a stream. Results before the start of the run are already known, and are dropped.
pub(crate) fn stateful<'scope, O: Stateful>(
    stream: StreamVec<'scope, Tick, O::Input>,
    context: &Context<'scope>,
    operator: O,
) -> StreamVec<'scope, Tick, O::Output> {
    let (scope, saved) = (stream.scope(), &context.state);
    let mut builder = OperatorBuilder::new(context.component.name.to_string(), scope);
    let mut input = builder.new_input(stream, Exchange::new(exchange::<O>));
    let (outputs, output_stream) = builder.new_output::<Vec<O::Output>>();
    let (changes, change_stream) = builder.new_output::<Vec<Change>>();
    let mut outputs = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(outputs);
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes);
    let (index, peers) = (scope.worker().index(), scope.worker().peers());
    let mut instance = Instance::new(operator, context, index, peers);
    let stop_point = saved.stop_point.clone();
    builder.build(move |mut capabilities| {
        let (of_changes, of_outputs) = (capabilities.pop(), capabilities.pop());
        let mut initial =
            of_outputs.zip(of_changes).map(|(outputs, changes)| Capabilities { outputs, changes });
        move |frontiers| {
            let reached = stop_point.reached(&frontiers[0]);
            let (mut outputs, mut changes) = (outputs.activate(), changes.activate());
            if let Some(initial) = initial.take() {
                let capabilities = initial.delayed(instance.starts_at.saturating_sub(1));
                outputs
                    .session(&capabilities.outputs)
                    .give_iterator(instance.restore(&capabilities));
            }
            input.for_each_time(|time, batches| {
                instance.ticks.insert(&time, batches, |time| Capabilities {
                    outputs: time.retain(0),
                    changes: time.retain(1),
                });
            });
            while let Some((tick, capabilities, records)) = instance.next(reached) {
                if let Some((end, changed)) = instance.take_changes(tick) {
                    changes.session(&end).give_iterator(changed.into_iter());
                }
                let results = instance.act(tick, &capabilities, records);
                outputs.session(&capabilities.outputs).give_iterator(results);
            }
            if let Some((end, changed)) = instance.take_changes(reached.first_open()) {
                changes.session(&end).give_iterator(changed.into_iter());
            }
            if stop_point.over(&frontiers[0]) {
                instance.leave_open();
            }
        }
    });
    saved.changes.borrow_mut().push(change_stream);
    output_stream
}

/// Returns the route of a record; all records of a key group have the same worker.
fn exchange<O: Stateful>(input: &O::Input) -> u64 {
    key_group(O::route(input)) as u64
}

/// An operator on one worker, with its ticks and timers.
struct Instance<O: Stateful> {
    operator: O,
    state: Keyed<O::Key, O::State>,
    dropped: CountDropped,
    component: u32,
    granule: Granule,
    starts_at: Tick,
    ticks: ClosedTicks<O::Input, Capabilities>,
    timers: BTreeMap<Tick, Capabilities>,
    /// The end of the granule in which state has changed.
    granule_end: Option<Capability<Tick>>,
    results: Vec<O::Output>,
}

impl<O: Stateful> Instance<O> {
    fn new(operator: O, context: &Context<'_>, index: usize, peers: usize) -> Self {
        let saved = &context.state;
        Self {
            operator,
            state: saved.restore(index, peers),
            dropped: CountDropped::clone(&context.component.dropped),
            component: saved.component,
            granule: saved.granule,
            starts_at: saved.starts_at,
            ticks: ClosedTicks::default(),
            timers: BTreeMap::new(),
            granule_end: None,
            results: Vec::new(),
        }
    }

    /// Returns the operator, and its work at a tick.
    fn work<'a>(
        &'a mut self,
        tick: Tick,
        capabilities: &'a Capabilities,
    ) -> (&'a mut O, Work<'a, O>) {
        self.state.advance_to(tick);
        let (state, outputs, timers) = (&mut self.state, &mut self.results, &mut self.timers);
        (&mut self.operator, Work { state, outputs, timers, capabilities })
    }

    /// Lets the operator act on the restored state.
    fn restore(&mut self, capabilities: &Capabilities) -> Drain<'_, O::Output> {
        let tick = *capabilities.outputs.time();
        let (operator, mut work) = self.work(tick, capabilities);
        operator.on_restore(tick, &mut work);
        self.results.drain(..)
    }

    /// Returns the next timer or closed tick, a timer first, and the records of a tick.
    fn next(&mut self, reached: Progress) -> Option<Turn<O::Input>> {
        let closed = self.ticks.closed(reached);
        // Everything before a timer is closed once the frontier has reached the timer.
        let due = self.timers.first_key_value().map(|(tick, _)| *tick);
        let due = due
            .filter(|due| *due <= reached.first_open() && closed.is_none_or(|tick| *due <= tick));
        if due.is_some() {
            return self.timers.pop_first().map(|(tick, capabilities)| (tick, capabilities, None));
        }
        self.ticks
            .pop(reached)
            .map(|(tick, capabilities, records)| (tick, capabilities, Some(records)))
    }

    /// Lets the operator act on the records of a tick, or on a timer.
    fn act(
        &mut self,
        tick: Tick,
        capabilities: &Capabilities,
        records: Option<Vec<O::Input>>,
    ) -> Drain<'_, O::Output> {
        let granule_end = self.granule.end_of(tick);
        self.granule_end.get_or_insert_with(|| capabilities.changes.delayed(&granule_end));
        let expired = self.expire(tick, records.as_deref().unwrap_or_default());
        self.evict("key idle for too long", tick, capabilities, &expired);
        let (operator, mut work) = self.work(tick, capabilities);
        match records {
            Some(mut records) => {
                records.sort_by(Ordered::compare);
                operator.on_tick(tick, records, &mut work);
            }
            None => operator.on_timer(tick, &mut work),
        }
        let evicted = self.state.evict(O::LIMITS.max_keys_per_group);
        self.evict("too many keys", tick, capabilities, &evicted);
        if tick < self.starts_at {
            self.results.clear();
        }
        self.results.drain(..)
    }

    /// Removes and returns the keys that were not used for their time to live.
    fn expire(&mut self, tick: Tick, records: &[O::Input]) -> Vec<(O::Key, O::State)> {
        let Some(time_to_live_ms) = O::LIMITS.time_to_live_ms else { return Vec::new() };
        self.state.advance_to(tick);
        if O::EMITS_ON_EVICT {
            let groups = records.iter().map(|record| key_group(O::route(record)));
            self.state.expire(time_to_live_ms, groups.collect::<BTreeSet<_>>())
        } else {
            self.state.expire(time_to_live_ms, 0..N_KEY_GROUPS)
        }
    }

    /// Counts removed keys, and lets the operator act on them.
    fn evict(
        &mut self,
        reason: &'static str,
        tick: Tick,
        capabilities: &Capabilities,
        evicted: &[(O::Key, O::State)],
    ) {
        if evicted.is_empty() {
            return;
        }
        (self.dropped)(reason, evicted.len() as u64);
        let (operator, mut work) = self.work(tick, capabilities);
        for (key, state) in evicted {
            operator.on_evict(tick, key, state, &mut work);
        }
    }

    /// Returns the changes of the granule that ends by `tick`, if one does.
    fn take_changes(&mut self, tick: Tick) -> Option<(Capability<Tick>, Vec<Change>)> {
        let end = self.granule_end.take_if(|end| *end.time() <= tick)?;
        Some((end, self.state.take_changes(self.component)))
    }

    /// Drops open ticks and timers with their capabilities; the next run continues them.
    fn leave_open(&mut self) {
        self.ticks.clear();
        self.timers.clear();
        self.granule_end = None;
    }
}

#[cfg(test)]
mod tests;
