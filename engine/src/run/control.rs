//! Ends the parts of a run together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::RunError;
use crate::run::health::Health;

/// Shared by all parts of a run.
#[derive(Debug)]
pub(super) struct Control {
    stop: Arc<AtomicBool>,
    /// True if other processes take part.
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
    /// True when the workers are done, or are not to be waited for.
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

    /// True when sources are to end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops the run in order because another process asks for the pipeline.
    pub(super) fn hand_over(&self, to: String) {
        if self.asked_by.get().is_none() {
            tracing::warn!(to, "another process takes over the pipeline: stopping");
        }
        // Who asked first is told to people.
        let _ = self.asked_by.set(to);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The process that asked for the pipeline, if one did.
    pub(super) fn asked_by(&self) -> Option<&str> {
        self.asked_by.get().map(String::as_str)
    }

    /// Endpoints the run because of a failure; only the first is kept. With `at_once`, nothing is waited
    /// for: what is not durable is another run's.
    ///
    /// If there are other processes it does not come back: these cannot tell what is durable from what
    /// a failed part lets go of, so the process ends while the part still holds it.
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

    /// True if a part has failed: then what looks durable may be what that part has let go of.
    pub(super) fn failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// True if it was asked to stop while other processes are not there yet.
    pub(super) fn waits_in_vain(&self) -> bool {
        self.has_others && self.stopping() && !self.failed()
    }

    /// Reports that the workers have ended.
    pub(super) fn finish(&self) {
        self.lock().over = true;
        self.ended.notify_all();
    }

    /// Waits for the end. Gives the failure that led to it, if one did.
    pub(super) fn wait(&self) -> Option<RunError> {
        let end = self.ended.wait_while(self.lock(), |end| !end.over);
        end.unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never ends.
fn hold() -> ! {
    loop {
        thread::park();
    }
}
