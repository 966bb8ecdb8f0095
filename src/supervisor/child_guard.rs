//! Ends the supervised run together with its supervisor, and forwards signals to it.

use std::process::ChildStdin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Guards the supervised run. A signal closes the run's standard input, and the run then stops.
pub(super) struct ChildGuard {
    child: Arc<(Mutex<Child>, Condvar)>,
}

#[derive(Default)]
struct Child {
    stopping: bool,
    /// The run's standard input.
    stdin: Option<ChildStdin>,
}

impl ChildGuard {
    /// Listens for SIGINT and SIGTERM. A second signal ends the process at once.
    pub(super) fn new() -> Result<Self> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).context("could not listen for signals")?;
        let guard = Self { child: Arc::default() };
        let child = Arc::clone(&guard.child);
        thread::spawn(move || {
            let guard = Self { child };
            for _ in signals.forever() {
                if guard.lock().stopping {
                    std::process::exit(1);
                }
                *guard.lock() = Child { stopping: true, stdin: None };
                guard.child.1.notify_all();
            }
        });
        Ok(guard)
    }

    /// Guards a run. After a signal, closes the run's standard input at once.
    pub(super) fn guard(&self, stdin: Option<ChildStdin>) {
        let mut child = self.lock();
        child.stdin = stdin.filter(|_| !child.stopping);
    }

    /// Sleeps for `pause`, or until a signal arrives.
    pub(super) fn pause(&self, pause: Duration) {
        let goes_on = |child: &mut Child| !child.stopping;
        // After a signal the next run is stopped at its start.
        drop(self.child.1.wait_timeout_while(self.lock(), pause, goes_on));
    }

    /// Returns true after a signal.
    pub(super) fn stopping(&self) -> bool {
        self.lock().stopping
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
