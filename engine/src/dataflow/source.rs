//! The end of a source in the dataflow: takes what its thread queued, at its ticks, no faster than
//! the sinks accept, and tells where it was at the end of each granule.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use operators::Change;
use schemas::{Progress, Record, Tick};
use sources::Mark;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::scheduling::Activator;

use crate::dataflow::Flow;
use crate::dataflow::waker::Waker;
use crate::fail_point;

/// Batches taken in one activation, so that other operators get their turn.
const BATCHES_PER_TURN: usize = 16;
/// How soon a source that waits for others looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a poll of a source brought.
#[derive(Debug)]
pub(crate) struct FeedBatch {
    /// Records in the order of their ticks.
    pub(crate) records: Vec<(Tick, Record)>,
    /// Where its partitions were at the end of each granule.
    pub(crate) marks: Vec<Mark>,
    /// No record that follows is before this tick.
    pub(crate) clock: Tick,
    /// True if nothing follows.
    pub(crate) ended: bool,
}

/// The dataflow's end of the queue of a source's partition. A queue that is closed before the source's
/// end means that the run stops.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) batches: Receiver<FeedBatch>,
    /// Filled once the dataflow is there; the thread wakes it after each batch and at the end.
    pub(crate) waker: Waker,
}

/// The streams of a source.
pub(super) struct SourceStreams<'scope> {
    pub(super) records: StreamVec<'scope, Tick, Record>,
    pub(super) changes: StreamVec<'scope, Tick, Change>,
}

/// The records of the feeds that are this worker's; on some workers there is none.
///
/// A record enters no further than `max_lead_ms` of event time ahead of what every sink has accepted, and
/// when no more than `max_in_flight_bytes` of its partition are on their way.
pub(super) fn read_from<'scope>(
    scope: Scope<'scope, Tick>,
    name: &str,
    component: u32,
    feeds: Vec<Feed>,
    flow: &Flow,
) -> SourceStreams<'scope> {
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    for feed in &feeds {
        feed.waker.set(scope, &info.address);
    }
    let (records, record_stream) = builder.new_output::<Vec<Record>>();
    let (changes, change_stream) = builder.new_output::<Vec<Change>>();
    let mut records = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(records);
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes);
    let flow = flow.clone();
    let (name, worker) = (name.to_owned(), scope.worker().index());
    let (counters, reads) = (Arc::clone(&flow.counters), !feeds.is_empty());
    builder.build(move |mut capabilities| {
        let (of_changes, of_records) = (capabilities.pop(), capabilities.pop());
        let capabilities = of_records.zip(of_changes).map(|(records, changes)| {
            let mut capabilities = Capabilities { records, changes };
            capabilities.downgrade(flow.starts_at);
            capabilities
        });
        let intakes =
            feeds.into_iter().zip(capabilities.iter().cycle()).map(|(feed, capabilities)| Intake {
                feed,
                capabilities: capabilities.clone(),
                component,
                flow: flow.clone(),
                activator: activator.clone(),
                pending: VecDeque::new(),
                clock: flow.starts_at,
                in_flight: InFlight::default(),
                end: End::Open,
            });
        let mut running: Vec<_> = intakes.collect();
        move |_frontiers| {
            let (mut records, mut changes) = (records.activate(), changes.activate());
            running.retain_mut(|intake| {
                !intake.take(
                    |capability, record| records.session(capability).give(record),
                    |capability, change| changes.session(capability).give(change),
                )
            });
            if reads {
                let clock = running.iter().map(|intake| intake.capabilities.clock()).min();
                let queued = running.iter().map(|intake| intake.feed.batches.len()).sum();
                counters.progress(&name, worker, clock.map(|clock| (clock, queued)));
            }
        }
    });
    SourceStreams { records: record_stream, changes: change_stream }
}

/// The right to speak from a tick on: of records and of positions.
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

/// Whether more can come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The source has no more.
    Ended,
    /// The run stops; all sources wait for each other.
    Parked,
}

struct Intake {
    feed: Feed,
    capabilities: Capabilities,
    component: u32,
    flow: Flow,
    activator: Activator,
    pending: VecDeque<(Tick, Record)>,
    /// Where the source is once the pending records have entered.
    clock: Tick,
    in_flight: InFlight,
    end: End,
}

/// What has entered and not every sink has accepted.
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

    /// True if nothing of a tick is to enter now. A tick that has begun enters whole: it is not over
    /// before that.
    fn holds_back(&self, tick: Tick, max_bytes: usize) -> bool {
        self.n_bytes >= max_bytes && self.ticks.front().is_some_and(|(first, _)| *first < tick)
    }
}

impl Intake {
    /// Takes in what is there and may enter. True when there is no more, and what is open is over.
    fn take(
        &mut self,
        mut give_record: impl FnMut(&Capability<Tick>, Record),
        mut give_change: impl FnMut(&Capability<Tick>, Change),
    ) -> bool {
        if self.end == End::Parked {
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
            match self.feed.batches.try_recv() {
                Ok(batch) => self.unpack(batch, &mut give_change),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return self.close(),
            }
        }
        self.activator.activate();
        false
    }

    /// Lets pending records in, as far as the sinks allow; true if all are.
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
                fail_point::pass("panic of a worker", "");
                if let Record::Csi(batch) = &record {
                    fail_point::pass("panic at a frame", &batch.link.receiver);
                }
                self.in_flight.enter(tick, record.size_bytes());
                give(&self.capabilities.records, record);
            }
        }
        self.capabilities.downgrade(self.clock.max(self.capabilities.clock()));
        true
    }

    /// Queues the records of a batch, and tells where the source was.
    fn unpack(&mut self, batch: FeedBatch, give: &mut impl FnMut(&Capability<Tick>, Change)) {
        let starts_at = self.flow.starts_at;
        for Mark { partition, tick, position } in batch.marks {
            // An earlier mark was read again, and is known.
            if tick > starts_at {
                let (component, key) = (self.component, partition.into_bytes());
                let change = Change { component, key, value: position };
                give(&self.capabilities.changes.delayed(&tick), change);
            }
        }
        self.clock = batch.clock;
        // What is read again from a mark on, but before the start of time, is done with.
        self.pending.extend(batch.records.into_iter().filter(|(tick, _)| *tick >= starts_at));
        if batch.ended {
            self.end = End::Ended;
        }
    }

    /// The run stops while records wait for other sources, which may have stopped already: they are left to
    /// the next run.
    fn leave(&mut self) -> bool {
        self.pending.clear();
        self.end = End::Open;
        self.close()
    }

    /// The queue is closed: lets go of time if the source has ended; otherwise the run stops, and
    /// what is open stays open.
    fn close(&mut self) -> bool {
        let parking = &self.flow.parking;
        if self.end == End::Ended && !self.flow.holds_some {
            parking.park(Progress::Ended);
            return true;
        }
        if self.end != End::Parked {
            self.end = End::Parked;
            parking.park(self.capabilities.clock().into());
        }
        // As far as all sources have come, everything is to be durable.
        if parking.low().is_some_and(|low| passed(&self.flow.durable, low.first_open())) {
            return true;
        }
        self.activator.activate_after(LOOK_AGAIN);
        false
    }
}

/// True if nothing before a tick can come any more where a probe is. As long as a source holds its
/// capability, the frontier there is only empty before the first step of the dataflow.
fn passed(probe: &ProbeHandle<Tick>, tick: Tick) -> bool {
    probe.with_frontier(|frontier| !frontier.is_empty() && !frontier.less_than(&tick))
}
