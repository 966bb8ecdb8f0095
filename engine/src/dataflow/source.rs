//! The end of a source in the dataflow: takes what its thread queued, at its ticks, no faster than
//! the sinks accept.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use schemas::{Record, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::scheduling::SyncActivator;

/// Batches taken in one activation, so that other operators get their turn.
const BATCHES_PER_TURN: usize = 16;
/// How soon a source that is too far ahead looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a poll of a source brought.
#[derive(Debug)]
pub(crate) struct FeedBatch {
    /// Records in the order of their ticks.
    pub(crate) records: Vec<(Tick, Record)>,
    /// No record that follows is before this tick.
    pub(crate) clock: Tick,
}

/// The dataflow's end of a source's queue. The source has ended when the queue is closed.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) batches: Receiver<FeedBatch>,
    /// Filled once the dataflow is there; the thread wakes it after each batch and at the end.
    pub(crate) waker: Arc<OnceLock<SyncActivator>>,
}

/// The records of a feed. On workers other than the feed's own there is none, and nothing comes.
///
/// A record enters no further than `max_lead_ms` of event time ahead of what every sink has accepted.
pub(super) fn read_from<'scope>(
    scope: Scope<'scope, Tick>,
    name: &str,
    feed: Option<Feed>,
    accepted: ProbeHandle<Tick>,
    max_lead_ms: u64,
) -> StreamVec<'scope, Tick, Record> {
    source::<_, CapacityContainerBuilder<Vec<Record>>, _, _>(
        scope,
        name,
        move |capability, info| {
            let activator = scope.activator_for(info.address.clone());
            if let Some(feed) = &feed {
                // The slot is filled once: a feed has one dataflow.
                let _ = feed.waker.set(scope.worker().sync_activator_for(info.address.to_vec()));
            }
            let mut running = feed.map(|feed| (feed, capability));
            let mut pending = VecDeque::new();
            move |output| {
                let Some((feed, capability)) = &mut running else { return };
                for _ in 0..BATCHES_PER_TURN {
                    while let Some((tick, _)) = pending.front() {
                        capability.downgrade(tick);
                        if accepted.less_than(&tick.saturating_sub(max_lead_ms)) {
                            activator.activate_after(LOOK_AGAIN);
                            return;
                        }
                        let mut session = output.session(capability);
                        let tick = *tick;
                        while let Some((_, record)) =
                            pending.pop_front_if(|(next, _)| *next == tick)
                        {
                            session.give(record);
                        }
                    }
                    match feed.batches.try_recv() {
                        Ok(batch) => {
                            if batch.records.is_empty() {
                                capability.downgrade(&batch.clock.max(*capability.time()));
                            }
                            pending.extend(batch.records);
                        }
                        Err(TryRecvError::Empty) => return,
                        Err(TryRecvError::Disconnected) => {
                            running = None;
                            return;
                        }
                    }
                }
                activator.activate();
            }
        },
    )
}
