//! The health of a run: components that retry calls, threads that have ended, and the failure that ends
//! the run.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::SystemTime;

use schemas::error_chain;

/// Failed calls of a component, which the component retries.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Time of the first failure.
    pub since: SystemTime,
    /// Number of failures.
    pub n_failures: u64,
    /// True if the other side is unreachable: the component retries until it is back.
    pub is_outage: bool,
    /// The latest failure and its causes.
    pub error: String,
}

/// The health of a run in this process.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By component and calling thread. `checkpoints`, `configuration` and `lease` count as components.
    retries: BTreeMap<String, HashMap<ThreadId, Retry>>,
    /// Each with the component that it belongs to.
    threads: Vec<(String, JoinHandle<()>)>,
    failure: Option<String>,
}

impl Retry {
    /// Joins two retries: the start of the earlier, the error of the later, and the sum of failures.
    fn join(self, other: Self) -> Self {
        let (earlier, later) =
            if self.since <= other.since { (self, other) } else { (other, self) };
        Self {
            n_failures: earlier.n_failures + later.n_failures,
            is_outage: earlier.is_outage || later.is_outage,
            error: later.error,
            since: earlier.since,
        }
    }
}

impl Health {
    /// Returns the components that retry calls.
    pub fn retries(&self) -> BTreeMap<String, Retry> {
        let state = self.lock();
        let of_threads = state.retries.iter();
        let joined = of_threads.filter_map(|(component, of_threads)| {
            let joined = of_threads.values().cloned().reduce(Retry::join)?;
            Some((component.clone(), joined))
        });
        joined.collect()
    }

    /// True if a component had threads, and all of them have ended.
    pub fn has_ended(&self, component: &str) -> bool {
        let state = self.lock();
        let mut threads = state.threads.iter().filter(|(name, _)| name == component).peekable();
        threads.peek().is_some() && threads.all(|(_, thread)| thread.is_finished())
    }

    /// The failure that ends the run, with its causes.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Records that a call of a component failed and that this thread retries it, and warns of it unless the
    /// call failed in the same way before.
    #[expect(clippy::disallowed_methods, reason = "people want to know since when")]
    pub(crate) fn failed_once(
        &self,
        component: &str,
        error: &(dyn Error + 'static),
        is_outage: bool,
    ) {
        let error = error_chain(error);
        let mut state = self.lock();
        let of_threads = state.retries.entry(component.to_owned()).or_default();
        let retry = of_threads.entry(thread::current().id()).or_insert_with(|| Retry {
            since: SystemTime::now(),
            n_failures: 0,
            is_outage,
            error: String::new(),
        });
        retry.n_failures += 1;
        retry.is_outage = is_outage;
        let is_new = retry.error != error;
        retry.error.clone_from(&error);
        // Writing to the log may block.
        drop(state);
        if is_new {
            tracing::warn!("{component}: {error}; trying again");
        }
    }

    /// Records that a retried call of this thread succeeded.
    pub(crate) fn recovered(&self, component: &str) {
        let remove = |retries: &mut HashMap<_, Retry>| retries.remove(&thread::current().id());
        let retry = self.lock().retries.get_mut(component).and_then(remove);
        if let Some(retry) = retry {
            tracing::warn!("{component}: works again after {} failures", retry.n_failures);
        }
    }

    /// Records the failure that ends the run; later failures are ignored.
    pub(super) fn failed(&self, error: &(dyn Error + 'static)) {
        let error = error_chain(error);
        self.lock().failure.get_or_insert(error);
    }

    /// Watches threads of the run.
    pub(super) fn watch(&self, threads: Vec<(String, JoinHandle<()>)>) {
        self.lock().threads.extend(threads);
    }

    /// Removes and returns the threads of the run, for the caller to join.
    pub(super) fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.lock().threads).into_iter().map(|(_, thread)| thread).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::thread;

    use super::*;

    #[test]
    fn a_retry_lasts_from_its_first_failure_to_its_success() {
        let health = Health::default();
        health.failed_once("lines", &io::Error::other("full"), true);
        let since = health.retries()["lines"].since;
        health.failed_once("lines", &io::Error::other("still full"), false);
        let retry = health.retries()["lines"].clone();
        assert_eq!((retry.since, retry.n_failures, retry.is_outage), (since, 2, false));
        assert_eq!(retry.error, "still full");
        health.recovered("lines");
        assert!(health.retries().is_empty());
    }

    #[test]
    fn a_component_has_recovered_when_all_its_threads_have() {
        let health = Health::default();
        health.failed_once("topic", &io::Error::other("one"), false);
        thread::scope(|scope| {
            let other = scope.spawn(|| health.failed_once("topic", &io::Error::other("two"), true));
            other.join().expect("it notes its failure");
            let retry = health.retries()["topic"].clone();
            assert_eq!((retry.n_failures, retry.is_outage), (2, true));
        });
        health.recovered("topic");
        assert_eq!(health.retries()["topic"].n_failures, 1, "the other goes on");
    }

    #[test]
    fn a_component_has_ended_when_all_its_threads_have() {
        let health = Health::default();
        let (open, wait) = crossbeam_channel::bounded::<()>(0);
        // The thread ends when the channel is closed.
        let waits = thread::spawn(move || {
            let _ = wait.recv();
        });
        health.watch(vec![("boards".to_owned(), waits)]);
        assert!(!health.has_ended("boards") && !health.has_ended("nobody"));
        drop(open);
        while !health.has_ended("boards") {
            thread::yield_now();
        }
        assert_eq!(health.take_threads().len(), 1);
    }
}
