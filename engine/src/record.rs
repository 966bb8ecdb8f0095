//! Recording: what comes over a source's socket goes to a folder, to be replayed later.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sources::SourceError;

use crate::{Plan, RunError};

/// How long to wait for whoever is away.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Records a source of a plan until `stop` is set.
///
/// # Errors
///
/// [`RunError`] if there is no such source, it has nothing to record, or it fails.
pub fn record(plan: &Plan, name: &str, folder: &Path, stop: &AtomicBool) -> Result<(), RunError> {
    let source = plan.sources.iter().find(|source| source.name == name);
    let source = source.ok_or_else(|| RunError::NoSuchSource { name: name.to_owned() })?;
    let failed = |source| RunError::Source { name: name.to_owned(), source };
    let mut recorder = source.config.recorder(name, folder).map_err(failed)?;
    tracing::info!(source = name, folder = %folder.display(), "recording");
    let mut outage = None;
    while !stop.load(Ordering::Relaxed) {
        outage = match recorder.receive() {
            Err(error) if error.is_outage() => {
                wait_a_moment(name, &error);
                Some(error)
            }
            result => {
                result.map_err(failed)?;
                None
            }
        };
    }
    match outage {
        // What came in and could not be written is lost. A peer that is away keeps what it has.
        Some(error) if !matches!(error, SourceError::Away { .. }) => Err(failed(error)),
        _ => Ok(()),
    }
}

fn wait_a_moment(name: &str, error: &(dyn Error + 'static)) {
    tracing::warn!(source = name, error, "trying again");
    thread::sleep(TRY_AGAIN);
}
