//! The progress that a thread reports to the dataflow.

use std::sync::{Arc, Mutex, PoisonError};

use schemas::Progress;

use crate::dataflow::waker::Waker;

/// The progress of a thread, with the operator to wake when it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedProgress {
    progress: Arc<Mutex<Progress>>,
    /// Set when the dataflow is built.
    pub(super) waker: Waker,
}

impl SharedProgress {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress: Arc::new(Mutex::new(progress)), waker: Waker::default() }
    }

    /// Sets the progress, and wakes the operator that waits for it.
    pub(crate) fn set(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        self.waker.wake();
    }

    pub(super) fn get(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
