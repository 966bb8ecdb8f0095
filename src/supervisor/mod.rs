//! The supervisor: a run that fails is started again, from its newest checkpoint.

mod leash;
mod suspects;

use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::supervisor::leash::Leash;
use crate::{EXIT_CONFIG, EXIT_ELSEWHERE, EXIT_SOFTWARE};

pub(crate) use crate::supervisor::suspects::Suspects;

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
/// another process's. A partition that it does not get over is left alone.
#[expect(clippy::disallowed_methods, reason = "pauses are a matter of clocks")]
pub(crate) fn supervise(
    arguments: &[OsString],
    mut suspects: Option<Suspects>,
) -> Result<ExitCode> {
    let leash = Leash::hold()?;
    let mut pause = FIRST_PAUSE;
    let mut arguments = arguments.to_owned();
    loop {
        let started = Instant::now();
        let held = suspects.as_ref().map_or_else(Vec::new, Suspects::held);
        let status = run(&arguments, &held, &leash)?;
        let for_good = [0, EXIT_CONFIG, EXIT_ELSEWHERE].map(i32::from);
        let is_over = status.code().is_some_and(|code| for_good.contains(&code));
        if is_over || leash.stopping() {
            return Ok(end(status, &held));
        }
        arguments.retain(|argument| argument != TAKE_OVER);
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        let suspects = suspects.as_mut().filter(|_| crashed(status));
        // It is another run, without a partition that this one had.
        let is_other = suspects.is_some_and(Suspects::crash);
        let now = if is_other { FIRST_PAUSE } else { pause };
        tracing::warn!(%status, pause = ?now, "the run failed, starting it again");
        leash.pause(now);
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
fn end(status: ExitStatus, held: &[String]) -> ExitCode {
    if !held.is_empty() {
        tracing::error!("left alone, and still to be read: {}", held.join(", "));
    }
    let code = status.code().map_or(1, |code| code as u8);
    ExitCode::from(code.max(u8::from(!held.is_empty())))
}

/// Runs once. The run stops in order when its standard input closes: when it is told to, or when the
/// supervisor is gone.
fn run(arguments: &[OsString], held: &[String], leash: &Leash) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let mut command = Command::new(program);
    command.args(arguments).args(held.iter().flat_map(|name| ["--hold", name]));
    command.env(SUPERVISED, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("could not start the run")?;
    leash.tie(child.stdin.take());
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
