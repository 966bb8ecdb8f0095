//! Warns of the output of earlier runs at a fresh start, or removes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sinks::OutputError;

use crate::Plan;
use crate::paths::normalized;

/// Folder of the journals of all pipelines.
pub(crate) const JOURNALS: &str = "fresnel.journal";

/// A failure to remove the output of earlier runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClearError {
    /// The destination of a sink may contain output of another writer. Nothing was removed.
    #[error("cannot clear the output of sink {sink:?}")]
    Sink {
        /// The sink's name.
        sink: String,
        /// The cause.
        source: OutputError,
    },
    /// A file or folder could not be removed.
    #[error("could not remove {path:?}")]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Warns, for each sink, of existing output at its destination before a fresh start.
pub(crate) fn warn_of_output(plan: &Plan, directory: &Path) {
    for sink in &plan.sinks {
        if let Some(leftovers) = sink.config.leftovers(directory) {
            tracing::warn!(sink = sink.name, "{leftovers}");
        }
    }
}

/// Removes the output of earlier runs of a pipeline: the output of its sinks, as far as a sink recognises
/// it as its own, and its journals. Call it before a fresh start, and not while the pipeline runs.
///
/// # Errors
///
/// [`ClearError`]. Nothing is removed if a destination contains anything else.
pub(crate) fn clear_output(plan: &Plan, directory: &Path) -> Result<(), ClearError> {
    let mut paths = Vec::new();
    for sink in &plan.sinks {
        let writer = format!("{}/{}/", plan.name, sink.name);
        let output = sink.config.output(&writer, directory);
        paths
            .extend(output.map_err(|source| ClearError::Sink { sink: sink.name.clone(), source })?);
    }
    paths.extend(journals_to_clear(plan, directory));
    for path in paths {
        remove(&path).map_err(|source| ClearError::Remove { path, source })?;
    }
    Ok(())
}

/// Returns the folder of a pipeline's journals, with a folder for each lineage.
pub(crate) fn journals(directory: &Path, pipeline: &str) -> PathBuf {
    directory.join(JOURNALS).join(pipeline)
}

/// Returns the folder of the journals of earlier runs; none if the pipeline replays one of them.
fn journals_to_clear(plan: &Plan, directory: &Path) -> Option<PathBuf> {
    let journals = journals(directory, &plan.name);
    let cleared = normalized(Path::new("."), &journals);
    let mut read = plan.sources.iter().flat_map(|source| source.config.files());
    let is_read = read.any(|path| normalized(directory, &path).starts_with(&cleared));
    (journals.is_dir() && !is_read).then_some(journals)
}

/// Removes a file or folder, if it exists: several processes of a run may remove it at the same time.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
