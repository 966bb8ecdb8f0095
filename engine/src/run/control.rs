//! How the parts of a run tell each other to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::RunError;

/// Shared by all parts of a run.
#[derive(Debug)]
pub(super) struct Control {
    stop: Arc<AtomicBool>,
    failure: Mutex<Option<RunError>>,
}

impl Control {
    pub(super) fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, failure: Mutex::default() }
    }

    /// True when sources are to end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the run because of a failure; only the first is kept.
    pub(super) fn fail(&self, error: RunError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Takes the failure that ended the run, if one did.
    pub(super) fn failure(&self) -> Option<RunError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
