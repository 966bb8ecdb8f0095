//! The supervisor: a run that fails is started again, from its newest checkpoint.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::EXIT_CONFIG;

/// Pause before a run is started again; it doubles from failure to failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A run that lived so long had got over what the one before had failed of.
const HEALTHY: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Set for a run that has a supervisor.
const SUPERVISED: &str = "FRESNEL_SUPERVISED";

/// Runs the program itself with `arguments` until it succeeds, cannot, or is to stop.
#[expect(clippy::disallowed_methods, reason = "pauses are a matter of clocks")]
pub(crate) fn supervise(arguments: &[OsString], stop: &AtomicBool) -> Result<ExitCode> {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let status = run(arguments, stop)?;
        let over = status.success() || status.code() == Some(EXIT_CONFIG.into());
        if over || stop.load(Ordering::Relaxed) {
            return Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)));
        }
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%status, ?pause, "the run failed, starting it again");
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK_AGAIN);
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Runs once. The run stops in order when its standard input closes: when it is told to, or when the
/// supervisor is gone.
fn run(arguments: &[OsString], stop: &AtomicBool) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let mut command = Command::new(program);
    command.args(arguments).env(SUPERVISED, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("could not start the run")?;
    loop {
        if stop.load(Ordering::Relaxed) {
            drop(child.stdin.take());
            return wait(&mut child);
        }
        if let Some(status) = child.try_wait().context("could not watch the run")? {
            return Ok(status);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    child.wait().context("could not watch the run")
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
