//! Recording: writes the messages that a source receives over its socket to a folder, for a later replay.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sources::SourceError;

use crate::run::Health;
use crate::{Plan, RunError};

/// Pause before a retry during an outage.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Records the messages of a source until `stop` is set; `started` is called once it records. Retries during an
/// outage.
///
/// # Errors
///
/// [`RunError`] if the source does not exist, has nothing to record, or fails.
pub fn record(
    plan: &Plan,
    name: &str,
    folder: &Path,
    stop: &AtomicBool,
    started: impl FnOnce(),
) -> Result<(), RunError> {
    let source = plan.sources.iter().find(|source| source.name == name);
    let source = source.ok_or_else(|| RunError::NoSuchSource { name: name.to_owned() })?;
    let failed = |source| RunError::Source { name: name.to_owned(), source };
    let mut recorder = source.config.recorder(name, folder).map_err(failed)?;
    started();
    let (health, mut outage) = (Health::default(), None);
    while !stop.load(Ordering::Relaxed) {
        outage = match recorder.receive() {
            Err(error) if error.is_outage() => {
                health.failed_once(name, &error, true);
                thread::sleep(TRY_AGAIN);
                Some(error)
            }
            result => {
                result.map_err(failed)?;
                health.recovered(name);
                None
            }
        };
    }
    match outage {
        // Received messages that could not be written are lost. An unreachable peer still has its messages.
        Some(error) if !matches!(error, SourceError::Away { .. }) => Err(failed(error)),
        _ => Ok(()),
    }
}
