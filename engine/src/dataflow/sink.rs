//! The operator of a sink: queues closed ticks for the sink's thread. Its capabilities report which ticks the
//! queue has accepted, and which are durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use operators::{Change, ClosedTicks};
use schemas::{Progress, Record, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::dataflow::DataflowContext;
use crate::dataflow::shared_progress::SharedProgress;
use crate::dataflow::sink_queue::{NotQueued, TickSender};

/// The interval of checks of a sink whose queue is full.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The dataflow's end of a sink's queue.
#[derive(Debug)]
pub(crate) struct SinkQueue {
    /// Closed ticks with their records, in order. Closed by the dataflow at its end, or by the thread
    /// when the sink failed.
    pub(crate) ticks: TickSender,
    /// True if the sink keeps what it takes, so that it has an upper.
    pub(crate) keeps: bool,
    /// Records before this are durable. The sink thread sets it after each commit.
    pub(crate) durable: SharedProgress,
}

/// Streams whose frontiers report the progress of a sink.
pub(super) struct SinkProgress<'scope> {
    /// Passes a tick when its records are in the sink's queue.
    pub(super) accepted: StreamVec<'scope, Tick, ()>,
    /// Passes a tick when its records are durable; carries the sink's upper.
    pub(super) changes: StreamVec<'scope, Tick, Change>,
}

/// The capabilities that a tick holds until it is accepted, and until it is durable.
type Capabilities = (Capability<Tick>, Capability<Tick>);

/// Sends all records to the queue, which is on the given worker.
pub(super) fn write_to<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    name: &str,
    component: u32,
    (worker, sink_queue): (usize, Option<SinkQueue>),
    flow: &DataflowContext,
) -> SinkProgress<'scope> {
    let scope = records.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut input = builder.new_input(records, Exchange::new(move |_: &Record| worker as u64));
    let (_accepted, accepted) = builder.new_output::<Vec<()>>();
    let (changes, change_stream) = builder.new_output::<Vec<Change>>();
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    if let Some(sink_queue) = &sink_queue {
        sink_queue.durable.waker.set(scope, &info.address);
    }
    let keeps = sink_queue.as_ref().is_some_and(|sink_queue| sink_queue.keeps);
    let (mut queue, durable) = sink_queue
        .map(|sink_queue| (Some(sink_queue.ticks), sink_queue.durable))
        .unwrap_or_default();
    let (granule, stop_point) = (flow.granule, flow.stop_point.clone());
    let name = name.to_owned();
    let counters = Arc::clone(&flow.counters);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut ticks = ClosedTicks::<Record, Capabilities>::default();
        let mut blocked: Option<(Tick, Capabilities, Vec<Record>)> = None;
        let mut not_durable = VecDeque::<(Tick, Capability<Tick>)>::new();
        move |frontiers| {
            let mut changes = changes.activate();
            input.for_each_time(|time, batches| {
                ticks.insert(&time, batches, |time| (time.retain(0), time.retain(1)));
            });
            let reached = stop_point.reached(&frontiers[0]);
            loop {
                let next = blocked.take().or_else(|| {
                    let (tick, capabilities, mut records) = ticks.pop(reached)?;
                    records.sort_by(Record::total_cmp);
                    Some((tick, capabilities, records))
                });
                let (Some((tick, capabilities, records)), Some(queue)) = (next, &queue) else {
                    break;
                };
                match queue.try_send(tick, records) {
                    Ok(()) => not_durable.push_back((tick, capabilities.1)),
                    Err(NotQueued::Full(records)) => {
                        blocked = Some((tick, capabilities, records));
                        activator.activate_after(LOOK_AGAIN);
                        break;
                    }
                    // The sink failed and the run ends: nothing delays the frontier any more.
                    Err(NotQueued::Closed) => not_durable.clear(),
                }
            }
            let durable = durable.get();
            let mut released = None;
            while let Some(hold) = not_durable.pop_front_if(|(tick, _)| durable.is_past(*tick)) {
                released = Some(hold);
            }
            if let Some((tick, hold)) = released.filter(|_| keeps) {
                let value = Some(tick.saturating_add(1).to_le_bytes().to_vec());
                let change = Change { component, key: Vec::new(), value };
                changes.session(&hold.delayed(&granule.end_of(tick))).give(change);
            }
            if stop_point.over(&frontiers[0]) {
                ticks.clear();
            }
            if let Some(queue) = &queue {
                let open = not_durable.front().map(|(tick, _)| Progress::Reached(*tick));
                let clock = match open.unwrap_or(reached) {
                    Progress::Reached(tick) if tick > 0 => Some((tick, queue.n_ticks())),
                    // Neither before the first tick nor after the last one is it anywhere.
                    _ => None,
                };
                counters.progress(&name, worker, clock);
            }
            if frontiers[0].is_empty() && blocked.is_none() {
                // Closes the queue, upon which the thread makes its last commit.
                queue = None;
            }
        }
    });
    SinkProgress { accepted, changes: change_stream }
}

/// The upper that a sink's change tells.
pub(crate) fn upper_of(value: &[u8]) -> Option<Tick> {
    value.try_into().ok().map(Tick::from_le_bytes)
}
