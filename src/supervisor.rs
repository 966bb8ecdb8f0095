//! The supervisor: a run that fails is started again, from its newest checkpoint.

use std::ffi::OsString;
use std::io::Read;
use std::process::{ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::EXIT_CONFIG;

/// Pause before a run is started again; it doubles from failure to failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A run that lived so long had got over what the one before had failed of.
const HEALTHY: Duration = Duration::from_mins(1);
/// Set for a run that has a supervisor.
const SUPERVISED: &str = "FRESNEL_SUPERVISED";

/// Runs the program itself with `arguments` until it succeeds, cannot, or is to stop.
#[expect(clippy::disallowed_methods, reason = "pauses are a matter of clocks")]
pub(crate) fn supervise(arguments: &[OsString]) -> Result<ExitCode> {
    let leash = Leash::hold()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let status = run(arguments, &leash)?;
        let over = status.success() || status.code() == Some(EXIT_CONFIG.into());
        if over || leash.lock().stopping {
            return Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)));
        }
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%status, ?pause, "the run failed, starting it again");
        leash.pause(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Runs once. The run stops in order when its standard input closes: when it is told to, or when the
/// supervisor is gone.
fn run(arguments: &[OsString], leash: &Leash) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let mut command = Command::new(program);
    command.args(arguments).env(SUPERVISED, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("could not start the run")?;
    leash.tie(child.stdin.take());
    child.wait().context("could not watch the run")
}

/// What holds the run that goes on, until a signal lets it go.
struct Leash {
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
    fn hold() -> Result<Self> {
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
    fn tie(&self, stdin: Option<ChildStdin>) {
        let mut held = self.lock();
        held.stdin = stdin.filter(|_| !held.stopping);
    }

    /// Waits, unless it is to stop.
    fn pause(&self, pause: Duration) {
        let goes_on = |held: &mut Held| !held.stopping;
        // Whichever way it ends, the next run is told.
        drop(self.held.1.wait_timeout_while(self.lock(), pause, goes_on));
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets `stop` when the supervisor lets go, if there is one.
pub(crate) fn listen(stop: &Arc<AtomicBool>) {
    if std::env::var_os(SUPERVISED).is_none() {
        return;
    }
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        // It ends when the other side closes it; nothing is ever written.
        let _ = std::io::stdin().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
}
