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
use timely::scheduling::Activator;

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
    /// True if the sink stores records, so that it has an upper.
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
    let address = builder.operator_info().address;
    if let Some(sink_queue) = &sink_queue {
        sink_queue.durable.waker.set(scope, &address);
    }
    let (queue, keeps, durable) = match sink_queue {
        Some(SinkQueue { ticks, keeps, durable }) => (Some(ticks), keeps, durable),
        None => Default::default(),
    };
    let mut writer = SinkWriter {
        queue,
        keeps,
        durable,
        activator: scope.activator_for(address),
        ticks: ClosedTicks::default(),
        blocked: None,
        not_durable: VecDeque::new(),
    };
    let (granule, stop_point) = (flow.granule, flow.stop_point.clone());
    let (name, counters) = (name.to_owned(), Arc::clone(&flow.counters));
    builder.build(move |capabilities| {
        drop(capabilities);
        move |frontiers| {
            input.for_each_time(|time, batches| {
                writer.ticks.insert(&time, batches, |time| (time.retain(0), time.retain(1)));
            });
            let reached = stop_point.reached(&frontiers[0]);
            writer.send(reached);
            let mut changes = changes.activate();
            if let Some((tick, capability)) = writer.release_durable() {
                let value = Some(tick.saturating_add(1).to_le_bytes().to_vec());
                let change = Change { component, key: Vec::new(), value };
                changes.session(&capability.delayed(&granule.end_of(tick))).give(change);
            }
            if stop_point.over(&frontiers[0]) {
                writer.ticks.clear();
            }
            if let Some(queue) = &writer.queue {
                let clock = writer.clock(reached).map(|tick| (tick, queue.n_ticks()));
                counters.progress(&name, worker, clock);
            }
            if frontiers[0].is_empty() && writer.blocked.is_none() {
                // Closes the queue; the thread then makes its last commit.
                writer.queue = None;
            }
        }
    });
    SinkProgress { accepted, changes: change_stream }
}

/// The state of the operator on one worker.
struct SinkWriter {
    /// Present on the worker of the sink, until the end.
    queue: Option<TickSender>,
    keeps: bool,
    durable: SharedProgress,
    activator: Activator,
    ticks: ClosedTicks<Record, Capabilities>,
    /// A tick that the queue had no room for.
    blocked: Option<(Tick, Capabilities, Vec<Record>)>,
    /// Ticks in the queue, with the capabilities of changes.
    not_durable: VecDeque<(Tick, Capability<Tick>)>,
}

impl SinkWriter {
    /// Sends closed ticks while the queue has room.
    fn send(&mut self, reached: Progress) {
        let Some(queue) = &self.queue else { return };
        while let Some((tick, capabilities, records)) =
            self.blocked.take().or_else(|| next_tick(&mut self.ticks, reached))
        {
            match queue.try_send(tick, records) {
                Ok(()) => self.not_durable.push_back((tick, capabilities.1)),
                Err(NotQueued::Full(records)) => {
                    self.blocked = Some((tick, capabilities, records));
                    self.activator.activate_after(LOOK_AGAIN);
                    return;
                }
                // The sink failed and the run ends: nothing delays the frontier any more.
                Err(NotQueued::Closed) => self.not_durable.clear(),
            }
        }
    }

    /// Drops the capabilities of durable ticks. Returns the last one, if the sink has an upper.
    fn release_durable(&mut self) -> Option<(Tick, Capability<Tick>)> {
        let durable = self.durable.get();
        let mut released = None;
        while let Some(hold) = self.not_durable.pop_front_if(|(tick, _)| durable.is_past(*tick)) {
            released = Some(hold);
        }
        released.filter(|_| self.keeps)
    }

    /// The first tick that is not durable; none before the first tick and after the last one.
    fn clock(&self, reached: Progress) -> Option<Tick> {
        let open = self.not_durable.front().map(|(tick, _)| Progress::Reached(*tick));
        match open.unwrap_or(reached) {
            Progress::Reached(tick) if tick > 0 => Some(tick),
            _ => None,
        }
    }
}

/// The next closed tick, its records in their total order.
fn next_tick(
    ticks: &mut ClosedTicks<Record, Capabilities>,
    reached: Progress,
) -> Option<(Tick, Capabilities, Vec<Record>)> {
    let (tick, capabilities, mut records) = ticks.pop(reached)?;
    records.sort_by(Record::total_cmp);
    Some((tick, capabilities, records))
}

/// Decodes the upper in a sink's change; none if it is malformed.
pub(crate) fn upper_of(value: &[u8]) -> Option<Tick> {
    value.try_into().ok().map(Tick::from_le_bytes)
}
