//! The supervisor: restarts a failed run from its newest checkpoint.

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
use crate::{EXIT_CONFIG, EXIT_ELSEWHERE, EXIT_NO_INPUT, EXIT_SOFTWARE};

pub(crate) use crate::supervisor::fault_isolator::FaultIsolator;

/// Pause before the first restart. It doubles with each failure, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After a run of at least this length, the pause is `FIRST_PAUSE` again.
const HEALTHY: Duration = Duration::from_mins(1);
/// Removed before a restart: another run that has taken the pipeline over since then keeps it.
const TAKE_OVER: &str = "--take-over";
/// Environment variable that the supervisor sets for its run.
const SUPERVISED: &str = "FRESNEL_SUPERVISED";

/// Runs this program with `arguments`, and restarts it after a failure.
///
/// Returns when the run succeeds, its pipeline file has errors, another process runs the pipeline, or a
/// signal arrives. A partition that makes the run crash repeatedly is quarantined.
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
        let for_good = [0, EXIT_CONFIG, EXIT_ELSEWHERE, EXIT_NO_INPUT].map(i32::from);
        let is_over = status.code().is_some_and(|code| for_good.contains(&code));
        if is_over || guard.stopping() {
            return Ok(end(status, &quarantined));
        }
        arguments.retain(|argument| argument != TAKE_OVER);
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        let isolator = isolator.as_mut().filter(|_| crashed(status));
        // The next run differs from this run: it quarantines another partition.
        let is_other = isolator.is_some_and(FaultIsolator::crash);
        let now = if is_other { FIRST_PAUSE } else { pause };
        tracing::warn!(%status, pause = ?now, "the run failed, starting it again");
        guard.pause(now);
        if !is_other {
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// Returns true if a signal or a panic ended the run.
fn crashed(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code == EXIT_SOFTWARE)
}

/// Returns the exit code of the supervisor. A run with quarantined partitions is not a success.
fn end(status: ExitStatus, quarantined: &[String]) -> ExitCode {
    if !quarantined.is_empty() {
        tracing::error!("quarantined, and still to be read: {}", quarantined.join(", "));
    }
    let code = status.code().map_or(1, |code| code as u8);
    ExitCode::from(code.max(u8::from(!quarantined.is_empty())))
}

/// Starts the run and waits for its end. The run stops in order when its standard input closes: after a
/// signal, or when the supervisor has ended.
fn run(arguments: &[OsString], quarantined: &[String], guard: &ChildGuard) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let mut command = Command::new(program);
    command.args(arguments).args(quarantined.iter().flat_map(|name| ["--quarantine", name]));
    command.env(SUPERVISED, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("could not start the run")?;
    guard.guard(child.stdin.take());
    child.wait().context("could not watch the run")
}

/// Sets `stop` when the supervisor closes this process's standard input. Does nothing without a supervisor.
pub(crate) fn listen(stop: &Arc<AtomicBool>) {
    if std::env::var_os(SUPERVISED).is_none() {
        return;
    }
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        // The supervisor writes nothing: the read returns when the supervisor closes the pipe.
        let _ = std::io::stdin().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
}
