//! The end of a sink in the dataflow: hands closed ticks to the sink's thread, and tells what was
//! accepted and what is durable by letting go of its capabilities.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use operators::ClosedTicks;
use schemas::{Record, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

/// How soon a sink whose queue is full looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The dataflow's end of a sink's queue.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Closed ticks with their records, in order. Closed by the dataflow at its end, or by the thread
    /// when the sink failed.
    pub(crate) ticks: Sender<(Tick, Vec<Record>)>,
    /// Everything before this tick is durable, or the sink failed; set by the thread.
    pub(crate) durable: Arc<AtomicU64>,
    /// Filled once the dataflow is there; the thread wakes it after each commit.
    pub(crate) waker: Arc<OnceLock<SyncActivator>>,
}

/// Streams without records, whose frontiers tell what a sink has done.
pub(super) struct SinkProgress<'scope> {
    /// Passes a tick when its records are in the sink's queue.
    pub(super) accepted: StreamVec<'scope, Tick, ()>,
    /// Passes a tick when its records are durable.
    pub(super) durable: StreamVec<'scope, Tick, ()>,
}

/// The capabilities that a tick holds until it is accepted, and until it is durable.
type Holds = (Capability<Tick>, Capability<Tick>);

/// Hands all records to `outlet`, which is on worker `owner` modulo their number.
pub(super) fn write_to<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    name: &str,
    owner: u64,
    outlet: Option<Outlet>,
) -> SinkProgress<'scope> {
    let scope = records.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut input = builder.new_input(records, Exchange::new(move |_: &Record| owner));
    let (_accepted, accepted) = builder.new_output::<Vec<()>>();
    let (_durable, durable) = builder.new_output::<Vec<()>>();
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    if let Some(outlet) = &outlet {
        // The slot is filled once: an outlet has one dataflow.
        let _ = outlet.waker.set(scope.worker().sync_activator_for(info.address.to_vec()));
    }
    let (mut queue, durable_before) =
        outlet.map(|outlet| (Some(outlet.ticks), outlet.durable)).unwrap_or_default();
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut ticks = ClosedTicks::<Record, Holds>::default();
        let mut blocked: Option<(Tick, Holds, Vec<Record>)> = None;
        let mut not_durable = VecDeque::<(Tick, Capability<Tick>)>::new();
        move |frontiers| {
            input.for_each_time(|time, batches| {
                ticks.insert(&time, batches, |time| (time.retain(0), time.retain(1)));
            });
            loop {
                let next = blocked.take().or_else(|| {
                    let (tick, holds, mut records) = ticks.pop(&frontiers[0])?;
                    records.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
                    Some((tick, holds, records))
                });
                let (Some((tick, holds, records)), Some(queue)) = (next, &queue) else { break };
                match queue.try_send((tick, records)) {
                    Ok(()) => not_durable.push_back((tick, holds.1)),
                    Err(TrySendError::Full((_, records))) => {
                        blocked = Some((tick, holds, records));
                        activator.activate_after(LOOK_AGAIN);
                        break;
                    }
                    // The sink failed and the run ends: nothing holds time back any more.
                    Err(TrySendError::Disconnected(_)) => not_durable.clear(),
                }
            }
            let durable = durable_before.load(Ordering::Acquire);
            while not_durable.pop_front_if(|(tick, _)| *tick < durable).is_some() {}
            if frontiers[0].is_empty() && blocked.is_none() {
                // Closes the queue, upon which the thread makes its last commit.
                queue = None;
            }
        }
    });
    SinkProgress { accepted, durable }
}
