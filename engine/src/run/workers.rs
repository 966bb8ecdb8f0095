//! The worker threads. They agree on the run, open the sources and sinks of their process, and step the
//! dataflow until a checkpoint contains everything.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use timely::execute::execute_from;
use timely::worker::Worker;

use crate::RunError;
use crate::dataflow::{Dataflow, DataflowInputs, build};
use crate::run::control::Control;
use crate::run::opener::{RunOpener, StartedRun};
use crate::run::startup::StartupCoordinator;
use crate::run::step::step_until;

/// Interval at which a waiting start checks for a stop request.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

type Workers = JoinHandle<Result<(), RunError>>;

/// Starts the workers, and waits until this process's sources and sinks are open.
pub(super) fn start(
    opening: RunOpener,
    control: &Arc<Control>,
) -> Result<(Workers, StartedRun), RunError> {
    let (tell, told) = crossbeam_channel::bounded(1);
    let parts = OnceLock::<Option<DataflowInputs>>::new();
    let ends = Arc::clone(control);
    let workers = thread::spawn(move || {
        let failed = |reason: String| RunError::Workers { reason };
        let (builders, others) = match opening.connect() {
            Ok(connected) => connected,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let work = move |worker: &mut Worker| {
            let is_opener = opening.is_opened_by(worker.index());
            let mut startup = StartupCoordinator::new(worker);
            if is_opener {
                let (for_workers, opened) = match opening.open(&mut startup) {
                    Ok((parts, opened)) => (Some(parts), Ok(opened)),
                    Err(error) => (None, Err(error)),
                };
                parts.get_or_init(|| for_workers);
                // The receiver is gone if the start was stopped.
                let _ = tell.send(opened);
            }
            startup.pass_on();
            if let Some(parts) = parts.wait() {
                run(worker, parts);
            }
        };
        let config = timely::WorkerConfig::default();
        let guards = execute_from(builders, others, config, work).map_err(failed)?;
        let ended = guards.join().into_iter().collect::<Result<Vec<()>, _>>();
        ends.finish();
        ended.map_err(failed)?;
        Ok(())
    });
    let opened = wait_for_opened(&told, control)?;
    Ok((workers, opened))
}

/// Waits until the sources and sinks are open. The wait for other processes has no limit; a stop
/// request ends it.
fn wait_for_opened(
    told: &Receiver<Result<StartedRun, RunError>>,
    control: &Control,
) -> Result<StartedRun, RunError> {
    loop {
        match told.recv_timeout(STOP_CHECK_INTERVAL) {
            Ok(opened) => return opened,
            Err(RecvTimeoutError::Timeout) if control.waits_in_vain() => {
                let reason = "stopped while waiting for the other processes".to_owned();
                return Err(RunError::Workers { reason });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let reason = "they ended before they had begun".to_owned();
                return Err(RunError::Workers { reason });
            }
        }
    }
}

/// Steps one worker until a checkpoint contains everything.
fn run(worker: &mut Worker, parts: &DataflowInputs) {
    let Dataflow { committed, stop_coordinator } = build(worker, parts);
    step_until(worker, || {
        stop_coordinator.update(&parts.stop);
        committed.done()
    });
    stop_coordinator.close();
}
