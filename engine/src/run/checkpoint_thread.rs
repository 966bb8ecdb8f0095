//! The checkpoint thread: commits the checkpoints that the dataflow sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;
use schemas::Progress;

use crate::dataflow::{Checkpointer, Commit, SharedProgress};
use crate::fail_point;
use crate::run::control::Control;
use crate::run::quarantine::QuarantinedPartitions;
use crate::run::retry::retry;
use crate::store::CommitLog;
use crate::{Plan, RunError, State, StoreError};

/// Starts the thread that commits to `log`.
pub(super) fn spawn(
    plan: &Plan,
    log: Box<dyn CommitLog>,
    resumed: Progress,
    quarantined: QuarantinedPartitions,
    control: &Arc<Control>,
) -> (Checkpointer, JoinHandle<()>) {
    // At most one checkpoint is pending.
    let (commits, queue) = crossbeam_channel::bounded(1);
    let committed = SharedProgress::new(resumed);
    let oldest = Arc::<AtomicU64>::default();
    let checkpointer = Checkpointer {
        commits,
        committed: committed.clone(),
        oldest: Arc::clone(&oldest),
        interval: plan.checkpoint.interval.into(),
    };
    let components = plan.components().into_iter();
    let components =
        components.map(|(name, shape)| (name.to_owned(), shape.unwrap_or_default())).collect();
    let control = Arc::clone(control);
    let mut writer = CheckpointWriter { components, log, quarantined, control, committed, oldest };
    let thread = thread::spawn(move || {
        if let Err(error) = writer.commit_all(&queue) {
            let fenced = matches!(error, StoreError::Fenced { .. });
            writer.control.fail(RunError::Store(error), fenced);
            writer.committed.set(Progress::Failed);
        }
    });
    (checkpointer, thread)
}

struct CheckpointWriter {
    /// Name and shape of each component, by its number.
    components: Vec<(String, String)>,
    log: Box<dyn CommitLog>,
    quarantined: QuarantinedPartitions,
    control: Arc<Control>,
    committed: SharedProgress,
    oldest: Arc<AtomicU64>,
}

impl CheckpointWriter {
    /// Commits until the queue is closed, or a component has failed.
    fn commit_all(&mut self, queue: &Receiver<Commit>) -> Result<(), StoreError> {
        for mut commit in queue {
            // A failed sink has dropped the capabilities of ticks that it did not write.
            if self.control.failed() || self.quarantined.is_open_end(&commit) {
                self.committed.set(Progress::Failed);
                return Ok(());
            }
            self.quarantined.keep(&mut commit);
            let Commit { progress, changes } = commit;
            let mut state = State::default();
            for ((component, key), value) in changes {
                // Component numbers and names are from the same plan.
                let (name, shape) = &self.components[component as usize];
                let of_component = state.components.entry(name.clone()).or_default();
                of_component.shape.clone_from(shape);
                of_component.entries.insert(key, value);
            }
            let log = &mut self.log;
            let _span = tracing::info_span!("checkpoint", %progress).entered();
            fail_point::pass("before checkpoint", "");
            let oldest = retry("checkpoints", &self.control, || log.commit(progress, &state))?;
            fail_point::pass("after checkpoint", "");
            self.oldest.store(oldest, Ordering::Release);
            self.committed.set(progress);
        }
        Ok(())
    }
}
