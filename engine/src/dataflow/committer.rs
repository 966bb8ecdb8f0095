//! The end of all changes: what the frontier has passed is computed everywhere and durable in every
//! sink, so that it is a checkpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use operators::Change;
use schemas::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::dataflow::Flow;

/// A checkpoint to be committed: the latest change of each key since the one before.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Everything before this tick is in it.
    pub(crate) tick: Tick,
    /// By component and key.
    pub(crate) changes: BTreeMap<(u32, Vec<u8>), Option<Vec<u8>>>,
}

/// The dataflow's end of the checkpoint thread's queue.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    pub(crate) commits: Sender<Commit>,
    /// The tick of the newest checkpoint, set by the thread; the end of time when it gave up.
    pub(crate) committed: Arc<AtomicU64>,
    /// The tick of the oldest one that is kept, set by the thread.
    pub(crate) oldest: Arc<AtomicU64>,
    /// Filled once the dataflow is there; the thread wakes it after each commit.
    pub(crate) waker: Arc<OnceLock<SyncActivator>>,
    /// Time from one commit to the next.
    pub(crate) interval: Duration,
}

/// Hands checkpoints to `checkpointer`, which is on the first worker. What comes back are the ticks of
/// the oldest checkpoint that is kept; its frontier is the tick of the newest.
#[expect(clippy::disallowed_methods, reason = "checkpoints are paced by the clock")]
pub(super) fn commit<'scope>(
    changes: StreamVec<'scope, Tick, Change>,
    checkpointer: Option<Checkpointer>,
    flow: &Flow,
) -> StreamVec<'scope, Tick, Tick> {
    let scope = changes.scope();
    let mut builder = OperatorBuilder::new("Committer".to_owned(), scope);
    let mut input = builder.new_input(changes, Exchange::new(|_: &Change| 0));
    let (oldest, oldest_stream) = builder.new_output::<Vec<Tick>>();
    let mut oldest = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(oldest);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    if let Some(checkpointer) = &checkpointer {
        // The slot is filled once: a checkpointer has one dataflow.
        let _ = checkpointer.waker.set(scope.worker().sync_activator_for(info.address.to_vec()));
    }
    let (granule, stopped) = (flow.granule, flow.stopped.clone());
    let mut sent = flow.starts_at;
    let mut sent_at = Instant::now();
    builder.build(move |mut capabilities| {
        let mut hold = capabilities.pop().filter(|_| checkpointer.is_some());
        let mut pending = BTreeMap::<Tick, Vec<Change>>::new();
        let mut oldest_told = 0;
        move |frontiers| {
            let mut oldest = oldest.activate();
            input.for_each_time(|time, batches| {
                let changes = pending.entry(*time.time()).or_default();
                batches.for_each(|batch| changes.append(batch));
            });
            let Some(checkpointer) = &checkpointer else { return };
            let ended = frontiers[0].is_empty();
            // Changes of a granule have its end as their time: all are there beyond it.
            let complete = match stopped.reached(&frontiers[0]) {
                Tick::MAX => Tick::MAX,
                reached => granule.start_of(reached.saturating_sub(1)),
            };
            let committed = checkpointer.committed.load(Ordering::Acquire);
            let waited = sent_at.elapsed();
            let due = waited >= checkpointer.interval || ended;
            if committed >= sent && complete > sent && due {
                let later = match complete {
                    Tick::MAX => BTreeMap::new(),
                    complete => pending.split_off(&(complete + 1)),
                };
                let changes = std::mem::replace(&mut pending, later).into_values().flatten();
                let changes = changes.map(|change| ((change.component, change.key), change.value));
                let commit = Commit { tick: complete, changes: changes.collect() };
                // One commit is under way at most, so that there is room; a thread that is gone has
                // ended the run.
                let _ = checkpointer.commits.try_send(commit);
                (sent, sent_at) = (complete, Instant::now());
            } else if complete > sent && !due {
                activator.activate_after(checkpointer.interval.saturating_sub(waited));
            }
            if let Some(capability) = &mut hold {
                capability.downgrade(&committed.max(*capability.time()));
                let oldest_kept = checkpointer.oldest.load(Ordering::Acquire);
                if oldest_kept > oldest_told {
                    oldest.session(&*capability).give(oldest_kept);
                    oldest_told = oldest_kept;
                }
            }
            if ended && complete <= committed {
                hold = None;
            }
        }
    });
    oldest_stream
}
