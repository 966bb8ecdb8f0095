//! The supervisor: a run that fails is started again, from its newest checkpoint.

mod child_guard;
mod fault_isolator;

use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::supervisor::child_guard::ChildGuard;
use crate::{EXIT_CONFIG, EXIT_ELSEWHERE, EXIT_SOFTWARE};

pub(crate) use crate::supervisor::fault_isolator::FaultIsolator;

/// Pause before a run is started again; it doubles from failure to failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A run that lived so long had got over what the one before had failed of.
const HEALTHY: Duration = Duration::from_mins(1);
/// A run takes a pipeline over once: one that took it over since has been asked to.
const TAKE_OVER: &str = "--take-over";
/// Set for a run that has a supervisor.
const SUPERVISED: &str = "FRESNEL_SUPERVISED";

/// Runs the program itself with `arguments` until it succeeds, cannot, is to stop, or the pipeline is
/// another process's. A partition that it does not get over is quarantined.
#[expect(clippy::disallowed_methods, reason = "pauses are a matter of clocks")]
pub(crate) fn supervise(
    arguments: &[OsString],
    mut isolator: Option<FaultIsolator>,
) -> Result<ExitCode> {
    let guard = ChildGuard::new()?;
    let mut pause = FIRST_PAUSE;
    let mut arguments = arguments.to_owned();
    loop {
        let started = Instant::now();
        let quarantined = isolator.as_ref().map_or_else(Vec::new, FaultIsolator::quarantined);
        let status = run(&arguments, &quarantined, &guard)?;
        let for_good = [0, EXIT_CONFIG, EXIT_ELSEWHERE].map(i32::from);
        let is_over = status.code().is_some_and(|code| for_good.contains(&code));
        if is_over || guard.stopping() {
            return Ok(end(status, &quarantined));
        }
        arguments.retain(|argument| argument != TAKE_OVER);
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        let isolator = isolator.as_mut().filter(|_| crashed(status));
        // It is another run, without a partition that this one had.
        let is_other = isolator.is_some_and(FaultIsolator::crash);
        let now = if is_other { FIRST_PAUSE } else { pause };
        tracing::warn!(%status, pause = ?now, "the run failed, starting it again");
        guard.pause(now);
        if !is_other {
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// True if it did not end by itself.
fn crashed(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code == EXIT_SOFTWARE)
}

/// A run that has left something alone is no success.
fn end(status: ExitStatus, quarantined: &[String]) -> ExitCode {
    if !quarantined.is_empty() {
        tracing::error!("quarantined, and still to be read: {}", quarantined.join(", "));
    }
    let code = status.code().map_or(1, |code| code as u8);
    ExitCode::from(code.max(u8::from(!quarantined.is_empty())))
}

/// Runs once. The run stops in order when its standard input closes: when it is told to, or when the
/// supervisor is gone.
fn run(arguments: &[OsString], quarantined: &[String], guard: &ChildGuard) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let mut command = Command::new(program);
    command.args(arguments).args(quarantined.iter().flat_map(|name| ["--quarantine", name]));
    command.env(SUPERVISED, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("could not start the run")?;
    guard.guard(child.stdin.take());
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
