//! What ties a run to its supervisor.

use std::process::ChildStdin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What holds the run that goes on, until a signal lets it go.
pub(super) struct Leash {
    held: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Default)]
struct Held {
    stopping: bool,
    /// The run's standard input.
    stdin: Option<ChildStdin>,
}

impl Leash {
    /// Listens for an interrupt or a request to terminate; a second one ends the process at once.
    pub(super) fn hold() -> Result<Self> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).context("could not listen for signals")?;
        let leash = Self { held: Arc::default() };
        let held = Arc::clone(&leash.held);
        thread::spawn(move || {
            let leash = Self { held };
            for _ in signals.forever() {
                if leash.lock().stopping {
                    std::process::exit(1);
                }
                *leash.lock() = Held { stopping: true, stdin: None };
                leash.held.1.notify_all();
            }
        });
        Ok(leash)
    }

    /// Ties a run, unless it is to stop already.
    pub(super) fn tie(&self, stdin: Option<ChildStdin>) {
        let mut held = self.lock();
        held.stdin = stdin.filter(|_| !held.stopping);
    }

    /// Waits, unless it is to stop.
    pub(super) fn pause(&self, pause: Duration) {
        let goes_on = |held: &mut Held| !held.stopping;
        // Whichever way it ends, the next run is told.
        drop(self.held.1.wait_timeout_while(self.lock(), pause, goes_on));
    }

    /// True once a signal came.
    pub(super) fn stopping(&self) -> bool {
        self.lock().stopping
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
