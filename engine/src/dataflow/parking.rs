//! Where sources wait for each other when a run stops before their end: what all have gone beyond is
//! made durable, what only some have is left for the next run.

use std::sync::{Mutex, PoisonError};

use schemas::Tick;

/// The clocks of the sources that wait.
#[derive(Debug)]
pub(crate) struct Parking {
    n_feeds: usize,
    clocks: Mutex<Vec<Tick>>,
}

impl Parking {
    pub(crate) fn new(n_feeds: usize) -> Self {
        Self { n_feeds, clocks: Mutex::default() }
    }

    /// Says that a source waits, and how far it has come; once for each feed.
    pub(super) fn park(&self, clock: Tick) {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner).push(clock);
    }

    /// How far the last of them has come, once all wait.
    pub(super) fn low(&self) -> Option<Tick> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.len() < self.n_feeds { None } else { clocks.iter().min().copied() }
    }
}
