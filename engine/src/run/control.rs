//! Stops and ends the threads of a run together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::RunError;
use crate::run::health::Health;

/// The stop request, health and end of a run; shared by all its threads.
#[derive(Debug)]
pub(super) struct Control {
    stop: Arc<AtomicBool>,
    /// True if the run has other processes.
    has_others: bool,
    health: Arc<Health>,
    /// The process that asked for the pipeline.
    asked_by: OnceLock<String>,
    end: Mutex<End>,
    ended: Condvar,
}

/// The end of a run.
#[derive(Debug, Default)]
struct End {
    failure: Option<RunError>,
    /// True when the workers have ended, or when the run must not wait for them.
    over: bool,
}

impl Control {
    pub(super) fn new(stop: Arc<AtomicBool>, has_others: bool) -> Self {
        let (health, asked_by) = (Arc::default(), OnceLock::new());
        Self { stop, has_others, health, asked_by, end: Mutex::default(), ended: Condvar::new() }
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// True after a stop request: sources end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops the run in order, to hand the pipeline over to another process.
    pub(super) fn hand_over(&self, to: String) {
        if self.asked_by.get().is_none() {
            tracing::warn!(to, "another process takes over the pipeline: stopping");
        }
        // The summary reports the first process that asked.
        let _ = self.asked_by.set(to);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The process that asked for the pipeline, if one did.
    pub(super) fn asked_by(&self) -> Option<&str> {
        self.asked_by.get().map(String::as_str)
    }

    /// Ends the run because of a failure; later failures are ignored. With `at_once`, the run does not
    /// wait for its workers, and the next run repeats all work that is not durable.
    ///
    /// With other processes, this call does not return. The other processes cannot distinguish durable
    /// records from capabilities that a failed component drops. So this process ends before the
    /// component drops them.
    pub(super) fn fail(&self, error: RunError, at_once: bool) {
        self.health.failed(&error);
        let mut end = self.lock();
        end.failure.get_or_insert(error);
        end.over |= at_once || self.has_others;
        self.stop.store(true, Ordering::Relaxed);
        self.ended.notify_all();
        drop(end);
        if self.has_others {
            hold();
        }
    }

    /// True if a component has failed. Its dropped capabilities can then look like durable records.
    pub(super) fn failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// True if a stop request ends a start that still waits for other processes.
    pub(super) fn waits_in_vain(&self) -> bool {
        self.has_others && self.stopping() && !self.failed()
    }

    /// Reports that the workers have ended.
    pub(super) fn finish(&self) {
        self.lock().over = true;
        self.ended.notify_all();
    }

    /// Waits until the run ends. Returns the failure that ended it, if any.
    pub(super) fn wait(&self) -> Option<RunError> {
        let end = self.ended.wait_while(self.lock(), |end| !end.over);
        end.unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    /// Waits until the run ends, but not longer than `timeout`. Returns true if it has ended.
    pub(super) fn ends_within(&self, timeout: Duration) -> bool {
        let end = self.ended.wait_timeout_while(self.lock(), timeout, |end| !end.over);
        end.unwrap_or_else(PoisonError::into_inner).0.over
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks forever.
fn hold() -> ! {
    loop {
        thread::park();
    }
}
