//! Recording: what comes over a source's socket goes to a folder, to be replayed later.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Plan, RunError};

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
    while !stop.load(Ordering::Relaxed) {
        recorder.receive().map_err(failed)?;
    }
    Ok(())
}
