//! The order of things: a stateful operator acts on a tick when the frontier has passed it, on its
//! records sorted; so its results do not depend on batching or on the number of workers. What it
//! remembers leaves as a stream of changes, a granule at a time, and comes back after a restart.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use schemas::Tick;
use serde::Serialize;
use serde::de::DeserializeOwned;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::state::Keyed;
use crate::{Change, ClosedTicks, Saving, StateKey};

/// What an operator does with closed ticks.
pub(crate) trait Stateful: 'static {
    /// What comes in.
    type Input: ExchangeData;
    /// What goes out.
    type Output: 'static;
    /// What state belongs to.
    type Key: StateKey;
    /// What is remembered of a key.
    type State: Serialize + DeserializeOwned + 'static;

    /// Where a record goes: to the state of its key.
    fn route(input: &Self::Input) -> u64;

    /// The order of the records of one tick.
    fn compare(a: &Self::Input, b: &Self::Input) -> Ordering;

    /// Acts on the records of a closed tick, which are in order. Outputs leave at that tick.
    fn on_tick(&mut self, tick: Tick, inputs: Vec<Self::Input>, work: &mut Work<'_, Self>);

    /// Acts at a tick that was asked for, before its records. Everything earlier was acted on.
    fn on_alarm(&mut self, _tick: Tick, _work: &mut Work<'_, Self>) {}

    /// Acts on restored state at the last tick before time starts: sets its alarms, or fills
    /// collections that are kept elsewhere.
    fn on_restore(&mut self, _tick: Tick, _work: &mut Work<'_, Self>) {}
}

/// What an operator works on.
pub(crate) struct Work<'a, O: Stateful + ?Sized> {
    /// What is remembered.
    pub(crate) state: &'a mut Keyed<O::Key, O::State>,
    /// What goes out.
    pub(crate) outputs: &'a mut Vec<O::Output>,
    alarms: &'a mut BTreeMap<Tick, Holds>,
    holds: &'a Holds,
}

impl<O: Stateful + ?Sized> Work<'_, O> {
    /// Asks for [`Stateful::on_alarm`] at a tick that is not over.
    pub(crate) fn set_alarm(&mut self, tick: Tick) {
        self.alarms.entry(tick).or_insert_with(|| self.holds.delayed(tick));
    }
}

/// The right to speak at a tick: of results and of changes.
struct Holds {
    outputs: Capability<Tick>,
    changes: Capability<Tick>,
}

impl Holds {
    fn delayed(&self, tick: Tick) -> Self {
        Self { outputs: self.outputs.delayed(&tick), changes: self.changes.delayed(&tick) }
    }
}

/// Runs an operator on a stream. Its results before the start of time are known already and dropped.
pub(crate) fn stateful<'scope, O: Stateful>(
    stream: StreamVec<'scope, Tick, O::Input>,
    name: &str,
    saving: &Saving<'scope>,
    mut operator: O,
) -> StreamVec<'scope, Tick, O::Output> {
    let scope = stream.scope();
    let (index, peers) = (scope.worker().index(), scope.worker().peers());
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut input = builder.new_input(stream, Exchange::new(O::route));
    let (outputs, output_stream) = builder.new_output::<Vec<O::Output>>();
    let (changes, change_stream) = builder.new_output::<Vec<Change>>();
    let mut outputs = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(outputs);
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes);
    let mut state = saving.restore::<O::Key, O::State>(index, peers);
    let (component, granule, starts_at) = (saving.component, saving.granule, saving.starts_at);
    let stopped = saving.stopped.clone();
    builder.build(move |mut capabilities| {
        let (of_changes, of_outputs) = (capabilities.pop(), capabilities.pop());
        let mut initial =
            of_outputs.zip(of_changes).map(|(outputs, changes)| Holds { outputs, changes });
        let mut ticks = ClosedTicks::<O::Input, Holds>::default();
        let mut alarms = BTreeMap::new();
        let mut granule_end: Option<Capability<Tick>> = None;
        let mut results = Vec::new();
        move |frontiers| {
            let reached = stopped.reached(&frontiers[0]);
            let (mut outputs, mut changes) = (outputs.activate(), changes.activate());
            if let Some(initial) = initial.take() {
                let before = starts_at.saturating_sub(1);
                let holds = initial.delayed(before);
                let mut work = Work {
                    state: &mut state,
                    outputs: &mut results,
                    alarms: &mut alarms,
                    holds: &holds,
                };
                operator.on_restore(before, &mut work);
                outputs.session(&holds.outputs).give_iterator(results.drain(..));
            }
            input.for_each_time(|time, batches| {
                ticks.insert(&time, batches, |time| Holds {
                    outputs: time.retain(0),
                    changes: time.retain(1),
                });
            });
            while let Some((tick, holds, records)) = next(&mut ticks, &mut alarms, reached) {
                if let Some(end) = granule_end.take_if(|end| *end.time() <= tick) {
                    changes.session(&end).give_iterator(state.take_changes(component));
                }
                granule_end.get_or_insert_with(|| holds.changes.delayed(&granule.end_of(tick)));
                let mut work = Work {
                    state: &mut state,
                    outputs: &mut results,
                    alarms: &mut alarms,
                    holds: &holds,
                };
                match records {
                    Some(mut records) => {
                        records.sort_by(O::compare);
                        operator.on_tick(tick, records, &mut work);
                    }
                    None => operator.on_alarm(tick, &mut work),
                }
                if tick < starts_at {
                    results.clear();
                }
                outputs.session(&holds.outputs).give_iterator(results.drain(..));
            }
            if let Some(end) = granule_end.take_if(|end| *end.time() <= reached) {
                changes.session(&end).give_iterator(state.take_changes(component));
            }
            if stopped.get() {
                // What is open stays open for the next run, and holds nothing in this one.
                ticks.clear();
                alarms.clear();
                granule_end = None;
            }
        }
    });
    saving.changes.borrow_mut().push(change_stream);
    output_stream
}

/// The next alarm or closed tick, an alarm first; the records of a tick.
fn next<R>(
    ticks: &mut ClosedTicks<R, Holds>,
    alarms: &mut BTreeMap<Tick, Holds>,
    reached: Tick,
) -> Option<(Tick, Holds, Option<Vec<R>>)> {
    let closed = ticks.closed(reached);
    // All before an alarm is closed when the frontier has reached it.
    let due = alarms.first_key_value().map(|(tick, _)| *tick);
    let due = due.filter(|due| *due <= reached && closed.is_none_or(|tick| *due <= tick));
    if due.is_some() {
        return alarms.pop_first().map(|(tick, holds)| (tick, holds, None));
    }
    ticks.pop(reached).map(|(tick, holds, records)| (tick, holds, Some(records)))
}
