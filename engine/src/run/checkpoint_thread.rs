//! The checkpoint thread: commits what the dataflow hands over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use schemas::Tick;

use crate::dataflow::{Checkpointer, Commit, Waker};
use crate::fail_point;
use crate::run::control::Control;
use crate::run::held::Held;
use crate::run::retry::retry;
use crate::store::Session;
use crate::{Plan, RunError, State, StoreError};

/// Starts the thread that commits to `session`.
pub(super) fn spawn(
    plan: &Plan,
    session: Session,
    starts_at: Tick,
    held: Held,
    control: &Arc<Control>,
) -> (Checkpointer, JoinHandle<()>) {
    // One is under way at most.
    let (commits, queue) = crossbeam_channel::bounded(1);
    let (committed, waker) = (Arc::new(AtomicU64::new(starts_at)), Waker::default());
    let oldest = Arc::<AtomicU64>::default();
    let checkpointer = Checkpointer {
        commits,
        committed: Arc::clone(&committed),
        oldest: Arc::clone(&oldest),
        waker: waker.clone(),
        interval: Duration::from_millis(plan.checkpoint.interval.0),
    };
    let components = plan.components().into_iter();
    let components =
        components.map(|(name, shape)| (name.to_owned(), shape.unwrap_or_default())).collect();
    let control = Arc::clone(control);
    let mut committer = Committer { components, session, held, control, committed, oldest, waker };
    let thread = thread::spawn(move || {
        if let Err(error) = committer.commit_all(&queue) {
            let fenced = matches!(error, StoreError::Fenced { .. });
            committer.control.fail(RunError::Store(error), fenced);
            committer.release(Tick::MAX);
        }
    });
    (checkpointer, thread)
}

struct Committer {
    /// Name and shape of each component, by its number.
    components: Vec<(String, String)>,
    session: Session,
    held: Held,
    control: Arc<Control>,
    committed: Arc<AtomicU64>,
    oldest: Arc<AtomicU64>,
    waker: Waker,
}

impl Committer {
    /// Commits until the queue is closed, or a part of the run has failed.
    fn commit_all(&mut self, queue: &Receiver<Commit>) -> Result<(), StoreError> {
        for mut commit in queue {
            // A sink that failed has let go of what it did not write.
            if self.control.failed() || self.held.is_open_end(&commit) {
                self.release(Tick::MAX);
                return Ok(());
            }
            self.held.keep(&mut commit);
            let Commit { tick, changes } = commit;
            let mut state = State::default();
            for ((component, key), value) in changes {
                // Numbers come from the plan that the names come from.
                let (name, shape) = &self.components[component as usize];
                let of_component = state.components.entry(name.clone()).or_default();
                of_component.shape.clone_from(shape);
                of_component.entries.insert(key, value);
            }
            let session = &mut self.session;
            let _span = tracing::info_span!("checkpoint", tick).entered();
            fail_point::pass("before checkpoint", "");
            let oldest = retry("checkpoints", &self.control, || session.commit(tick, &state))?;
            fail_point::pass("after checkpoint", "");
            self.oldest.store(oldest, Ordering::Release);
            self.release(tick);
        }
        Ok(())
    }

    /// Lets the dataflow know.
    fn release(&self, tick: Tick) {
        self.committed.store(tick, Ordering::Release);
        self.waker.wake();
    }
}
