//! Turns changes into checkpoints. All workers have computed, and all sinks have made durable,
//! everything before the frontier, so it can be committed as a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use operators::Change;
use schemas::{Progress, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::dataflow::DataflowContext;
use crate::dataflow::shared_progress::SharedProgress;

/// A checkpoint to be committed: the latest change of each key since the previous one.
#[derive(Debug)]
pub(crate) struct Commit {
    /// The checkpoint contains everything before this.
    pub(crate) progress: Progress,
    /// By component and key.
    pub(crate) changes: BTreeMap<(u32, Vec<u8>), Option<Vec<u8>>>,
}

/// The dataflow's end of the checkpoint thread's queue.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    pub(crate) commits: Sender<Commit>,
    /// The newest checkpoint; set by the thread after each commit.
    pub(crate) committed: SharedProgress,
    /// The tick of the oldest retained checkpoint, set by the thread.
    pub(crate) oldest: Arc<AtomicU64>,
    /// Minimum time between two commits.
    pub(crate) interval: Duration,
}

/// Sends checkpoints to `checkpointer`, which is on the first worker. The returned stream has the tick
/// of the oldest retained checkpoint; its frontier is the tick of the newest one.
#[expect(clippy::disallowed_methods, reason = "checkpoints are paced by the clock")]
pub(super) fn commit<'scope>(
    changes: StreamVec<'scope, Tick, Change>,
    checkpointer: Option<Checkpointer>,
    flow: &DataflowContext,
) -> StreamVec<'scope, Tick, Tick> {
    let scope = changes.scope();
    let mut builder = OperatorBuilder::new("Committer".to_owned(), scope);
    let mut input = builder.new_input(changes, Exchange::new(|_: &Change| 0));
    let (oldest, oldest_stream) = builder.new_output::<Vec<Tick>>();
    let mut oldest = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(oldest);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    if let Some(checkpointer) = &checkpointer {
        checkpointer.committed.waker.set(scope, &info.address);
    }
    let (granule, stop_point, resumed) = (flow.granule, flow.stop_point.clone(), flow.resumed);
    builder.build(move |mut capabilities| {
        let hold = capabilities.pop();
        let mut committer = checkpointer.map(|checkpointer| Committer {
            checkpointer,
            activator,
            pending: BTreeMap::new(),
            sent: (resumed, Instant::now()),
            hold,
            oldest_told: 0,
        });
        move |frontiers| {
            let mut oldest = oldest.activate();
            // The exchange sends all changes to the first worker.
            let Some(committer) = &mut committer else { return };
            input.for_each_time(|time, batches| {
                let changes = committer.pending.entry(*time.time()).or_default();
                batches.for_each(|batch| changes.append(batch));
            });
            // Changes have the end of their granule as their time: they are complete beyond it.
            let complete = match stop_point.reached(&frontiers[0]) {
                Progress::Reached(tick) => granule.start_of(tick.saturating_sub(1)).into(),
                ended => ended,
            };
            let ended = frontiers[0].is_empty();
            committer.send(complete, ended);
            committer.release(complete, ended, |hold, tick| oldest.session(hold).give(tick));
        }
    });
    oldest_stream
}

/// The state of the operator on the first worker.
struct Committer {
    checkpointer: Checkpointer,
    activator: Activator,
    /// Changes by the end of their granule.
    pending: BTreeMap<Tick, Vec<Change>>,
    /// The last checkpoint that was sent, and the time of that.
    sent: (Progress, Instant),
    /// At the tick of the newest checkpoint.
    hold: Option<Capability<Tick>>,
    oldest_told: Tick,
}

impl Committer {
    /// Sends the complete changes, if the interval is over and no other checkpoint is pending.
    #[expect(clippy::disallowed_methods, reason = "checkpoints are paced by the clock")]
    fn send(&mut self, complete: Progress, ended: bool) {
        let (sent, sent_at) = self.sent;
        if complete <= sent {
            return;
        }
        let remaining = self.checkpointer.interval.saturating_sub(sent_at.elapsed());
        if !remaining.is_zero() && !ended {
            self.activator.activate_after(remaining);
        } else if self.checkpointer.committed.get() >= sent {
            let commit = Commit { progress: complete, changes: self.take_changes(complete) };
            // At most one commit is pending, so the queue has room. A thread that has ended has also
            // ended the run.
            let _ = self.checkpointer.commits.try_send(commit);
            self.sent = (complete, Instant::now());
        }
    }

    /// Removes and returns the latest change of each key up to `complete`.
    fn take_changes(&mut self, complete: Progress) -> BTreeMap<(u32, Vec<u8>), Option<Vec<u8>>> {
        let later = match complete {
            Progress::Reached(tick) => self.pending.split_off(&tick.saturating_add(1)),
            Progress::Ended | Progress::Failed => BTreeMap::new(),
        };
        let changes = std::mem::replace(&mut self.pending, later).into_values().flatten();
        changes.map(|change| ((change.component, change.key), change.value)).collect()
    }

    /// Reports the progress of checkpoints.
    fn release(
        &mut self,
        complete: Progress,
        ended: bool,
        mut tell_oldest: impl FnMut(&Capability<Tick>, Tick),
    ) {
        let (committed, oldest) =
            (self.checkpointer.committed.get(), self.checkpointer.oldest.load(Ordering::Acquire));
        let Some(hold) = &mut self.hold else { return };
        hold.downgrade(&committed.first_open().max(*hold.time()));
        if oldest > self.oldest_told {
            tell_oldest(hold, oldest);
            self.oldest_told = oldest;
        }
        if ended && complete <= committed {
            self.hold = None;
        }
    }
}
