//! The operator of a source. It emits the records that the source's threads queued, at their ticks, no
//! faster than the sinks accept. It also emits the positions of its partitions at the end of each
//! granule.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use operators::Change;
use schemas::{Progress, Record, Tick};
use sources::PartitionPosition;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::scheduling::Activator;

use crate::dataflow::DataflowContext;
use crate::dataflow::waker::Waker;
use crate::fail_point;

/// Maximum number of batches in one activation, so that other operators are scheduled too.
const BATCHES_PER_TURN: usize = 16;
/// The interval of checks of a source that waits for others.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The result of a poll, for the dataflow.
#[derive(Debug)]
pub(crate) struct SourceBatch {
    /// Records in the order of their ticks.
    pub(crate) records: Vec<(Tick, Record)>,
    /// The positions of its partitions at the end of each granule.
    pub(crate) positions: Vec<PartitionPosition>,
    /// Later batches have no record before this tick.
    pub(crate) clock: Tick,
    /// True for the last batch.
    pub(crate) ended: bool,
}

/// The dataflow's end of the queue of a source's partition. The thread closes it at the end of the source, or
/// when the run stops.
#[derive(Debug)]
pub(crate) struct SourceQueue {
    pub(crate) batches: Receiver<SourceBatch>,
    /// Set when the dataflow is built; the thread wakes the operator after each batch and at the end.
    pub(crate) waker: Waker,
}

/// The streams of a source.
pub(super) struct SourceStreams<'scope> {
    pub(super) records: StreamVec<'scope, Tick, Record>,
    pub(super) changes: StreamVec<'scope, Tick, Change>,
}

/// Emits the records of this worker's queues; some workers have none.
///
/// A record is emitted at most `max_lead_ms` of event time ahead of the ticks that every sink has
/// accepted, and while at most `max_in_flight_bytes` of its partition are in flight.
pub(super) fn read_from<'scope>(
    scope: Scope<'scope, Tick>,
    name: &str,
    component: u32,
    source_queues: Vec<SourceQueue>,
    flow: &DataflowContext,
) -> SourceStreams<'scope> {
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    for source_queue in &source_queues {
        source_queue.waker.set(scope, &info.address);
    }
    let (records, record_stream) = builder.new_output::<Vec<Record>>();
    let (changes, change_stream) = builder.new_output::<Vec<Change>>();
    let mut records = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(records);
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes);
    let flow = flow.clone();
    let (name, worker) = (name.to_owned(), scope.worker().index());
    let (counters, reads) = (Arc::clone(&flow.counters), !source_queues.is_empty());
    builder.build(move |mut capabilities| {
        let (of_changes, of_records) = (capabilities.pop(), capabilities.pop());
        let capabilities = of_records.zip(of_changes).map(|(records, changes)| {
            let mut capabilities = Capabilities { records, changes };
            capabilities.downgrade(flow.starts_at);
            capabilities
        });
        let inputs = source_queues.into_iter().zip(capabilities.iter().cycle()).map(
            |(source_queue, capabilities)| PartitionInput {
                source_queue,
                capabilities: capabilities.clone(),
                component,
                flow: flow.clone(),
                activator: activator.clone(),
                pending: VecDeque::new(),
                clock: flow.starts_at,
                in_flight: InFlight::default(),
                end: End::Open,
            },
        );
        let mut running: Vec<_> = inputs.collect();
        move |_frontiers| {
            let (mut records, mut changes) = (records.activate(), changes.activate());
            running.retain_mut(|input| {
                !input.take(
                    |capability, record| records.session(capability).give(record),
                    |capability, change| changes.session(capability).give(change),
                )
            });
            if reads {
                let clock = running.iter().map(|input| input.capabilities.clock()).min();
                let queued = running.iter().map(|input| input.source_queue.batches.len()).sum();
                counters.progress(&name, worker, clock.map(|clock| (clock, queued)));
            }
        }
    });
    SourceStreams { records: record_stream, changes: change_stream }
}

/// Capabilities for records and for positions.
#[derive(Clone)]
struct Capabilities {
    records: Capability<Tick>,
    changes: Capability<Tick>,
}

impl Capabilities {
    fn downgrade(&mut self, tick: Tick) {
        self.records.downgrade(&tick);
        self.changes.downgrade(&tick);
    }

    fn clock(&self) -> Tick {
        *self.records.time()
    }
}

/// The state of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The source has ended.
    Ended,
    /// The run stops; all sources wait for each other.
    Stopping,
}

struct PartitionInput {
    source_queue: SourceQueue,
    capabilities: Capabilities,
    component: u32,
    flow: DataflowContext,
    activator: Activator,
    pending: VecDeque<(Tick, Record)>,
    /// The clock of the source after the pending records.
    clock: Tick,
    in_flight: InFlight,
    end: End,
}

/// Emitted records that not all sinks have accepted.
#[derive(Default)]
struct InFlight {
    /// Bytes of each tick, in order.
    ticks: VecDeque<(Tick, usize)>,
    n_bytes: usize,
}

impl InFlight {
    fn enter(&mut self, tick: Tick, n_bytes: usize) {
        self.n_bytes += n_bytes;
        match self.ticks.back_mut() {
            Some((latest, of_latest)) if *latest == tick => *of_latest += n_bytes,
            _ => self.ticks.push_back((tick, n_bytes)),
        }
    }

    fn accept(&mut self, accepted: &ProbeHandle<Tick>) {
        while let Some((_, n_bytes)) =
            self.ticks.pop_front_if(|(tick, _)| passed(accepted, tick.saturating_add(1)))
        {
            self.n_bytes -= n_bytes;
        }
    }

    /// True if records of a tick must wait. The oldest tick in flight enters whole, because it cannot
    /// close before that.
    fn holds_back(&self, tick: Tick, max_bytes: usize) -> bool {
        self.n_bytes >= max_bytes && self.ticks.front().is_some_and(|(first, _)| *first < tick)
    }
}

impl PartitionInput {
    /// Emits queued records, as far as the sinks allow. Returns true when the partition has ended.
    fn take(
        &mut self,
        mut give_record: impl FnMut(&Capability<Tick>, Record),
        mut give_change: impl FnMut(&Capability<Tick>, Change),
    ) -> bool {
        if self.end == End::Stopping {
            return self.close();
        }
        for _ in 0..BATCHES_PER_TURN {
            if !self.enter(&mut give_record) {
                if self.flow.stop.load(Ordering::Relaxed) {
                    return self.leave();
                }
                self.activator.activate_after(LOOK_AGAIN);
                return false;
            }
            match self.source_queue.batches.try_recv() {
                Ok(batch) => self.unpack(batch, &mut give_change),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return self.close(),
            }
        }
        self.activator.activate();
        false
    }

    /// Emits pending records, as far as the sinks allow; true if none is left.
    fn enter(&mut self, give: &mut impl FnMut(&Capability<Tick>, Record)) -> bool {
        self.in_flight.accept(&self.flow.accepted);
        while let Some((tick, _)) = self.pending.front() {
            self.capabilities.downgrade(*tick);
            let led_by = tick.saturating_sub(self.flow.max_lead_ms);
            let full = self.in_flight.holds_back(*tick, self.flow.max_in_flight_bytes);
            if full || !passed(&self.flow.accepted, led_by) {
                return false;
            }
            if let Some((tick, record)) = self.pending.pop_front() {
                self.in_flight.enter(tick, record.size_bytes());
                give(&self.capabilities.records, record);
            }
        }
        self.capabilities.downgrade(self.clock.max(self.capabilities.clock()));
        true
    }

    /// Queues the records of a batch, and emits the positions of its partitions.
    fn unpack(&mut self, batch: SourceBatch, give: &mut impl FnMut(&Capability<Tick>, Change)) {
        fail_point::pass("panic of a worker", "");
        fail_point::pass_each("panic at a frame", || batch.records.iter().filter_map(receiver));
        let starts_at = self.flow.starts_at;
        for PartitionPosition { partition, tick, position } in batch.positions {
            // Older positions are replayed: the checkpoint has them.
            if tick > starts_at {
                let (component, key) = (self.component, partition.into_bytes());
                let change = Change { component, key, value: position };
                give(&self.capabilities.changes.delayed(&tick), change);
            }
        }
        self.clock = batch.clock;
        // Records before the start are replayed from a position; every sink has them.
        self.pending.extend(batch.records.into_iter().filter(|(tick, _)| *tick >= starts_at));
        if batch.ended {
            self.end = End::Ended;
        }
    }

    /// Drops pending records when the run stops. They wait for other sources, which may have stopped
    /// already, and are left to the next run.
    fn leave(&mut self) -> bool {
        self.pending.clear();
        self.end = End::Open;
        self.close()
    }

    /// Handles a closed queue. Returns true if the source has ended, or if the run has stopped and
    /// everything before the stop point is durable.
    fn close(&mut self) -> bool {
        let stop_coordinator = &self.flow.stop_coordinator;
        if self.end == End::Ended && !self.flow.has_quarantined {
            stop_coordinator.report(Progress::Ended);
            return true;
        }
        if self.end != End::Stopping {
            self.end = End::Stopping;
            stop_coordinator.report(self.capabilities.clock().into());
        }
        // Everything that all sources have passed must be durable.
        if stop_coordinator
            .slowest()
            .is_some_and(|slowest| passed(&self.flow.durable, slowest.first_open()))
        {
            return true;
        }
        self.activator.activate_after(LOOK_AGAIN);
        false
    }
}

/// The receiver of a batch of frames.
fn receiver((_, record): &(Tick, Record)) -> Option<&str> {
    let Record::Csi(batch) = record else { return None };
    Some(&batch.link.receiver)
}

/// True if the frontier of a probe has passed a tick. While a source has its capability, the frontier is only
/// empty before the first step of the dataflow.
fn passed(probe: &ProbeHandle<Tick>, tick: Tick) -> bool {
    probe.with_frontier(|frontier| !frontier.is_empty() && !frontier.less_than(&tick))
}
