//! The store: checkpoints and leases of pipelines, and the accounts of their APIs, in `SQLite` or Postgres.
//!
//! A checkpoint is one row: the changes since the previous checkpoint, or the whole state. So it is
//! stored completely or not at all, and its checksum detects later damage. A run takes the next
//! generation of its pipeline when its sources and sinks are open. Only the newest generation can
//! commit.

mod accounts;
mod body;
mod checkpoints;
mod configuration;
mod decisions;
mod error;
mod generation;
mod handle;
mod holder;
mod items;
mod lease;
mod session;
mod templates;

use std::path::Path;

use schemas::{Progress, Tick};

pub use crate::store::accounts::AccountStore;
pub use crate::store::body::{ComponentState, State};
pub(crate) use crate::store::configuration::{ChangeLog, StoredChange};
pub(crate) use crate::store::decisions::DecisionTable;
pub use crate::store::error::StoreError;
pub(crate) use crate::store::generation::RunId;
pub use crate::store::handle::StoreHandle;
pub use crate::store::items::{ItemKind, ItemStore};
pub(crate) use crate::store::lease::{Beat, Lease, LeaseState};
pub(crate) use crate::store::session::{CommitLog, Session};
pub use crate::store::templates::TemplateStore;

/// An open database for checkpoints and leases, with its own runtime. Its methods block; those of a
/// [`StoreHandle`] are async.
///
/// A drop does not wait, and leaves open transactions to the database. [`Store::close`] ends in order.
#[derive(Debug)]
pub struct Store {
    handle: StoreHandle,
}

/// The state of a pipeline at a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The checkpoint contains everything before this.
    pub progress: Progress,
    /// The state of each component.
    pub state: State,
}

/// A checkpoint in a list, without its state.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The pipeline.
    pub pipeline: String,
    /// The checkpoint contains everything before this.
    pub progress: Progress,
    /// The generation of the run that committed it.
    pub generation: i64,
    /// Time of the commit, in milliseconds since the Unix epoch.
    pub committed_at_ms: i64,
    /// True if it contains the whole state, and needs no earlier checkpoint.
    pub whole: bool,
    /// Number of changed keys.
    pub n_changes: i64,
    /// Size of its body, in bytes.
    pub n_bytes: usize,
}

/// A row of the table of pipelines.
#[derive(Clone, Debug)]
struct PipelineRow {
    name: String,
    lineage: String,
    generation: i64,
    /// The newest checkpoint, if there is one.
    latest: Option<Progress>,
}

impl Store {
    /// Opens the database at `location`: a `postgres://` URL, or a file, which is created if it is
    /// missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if it cannot be reached or is not a store.
    pub fn open(directory: &Path, location: &str) -> Result<Self, StoreError> {
        let opened = StoreHandle::open(directory, location);
        let handle = opened.map_err(|source| StoreError::open(location, source))?;
        Ok(Self { handle })
    }

    /// Returns an async handle, for callers that must not block.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Lists the checkpoints of all pipelines.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        self.handle.block_on(self.handle.list())
    }

    /// Loads the newest intact checkpoint of a pipeline, up to a tick.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or no checkpoint is intact any more.
    pub fn inspect(
        &self,
        pipeline: &str,
        up_to: Option<Tick>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.handle.block_on(self.handle.inspect(pipeline, up_to))
    }

    /// Returns this process's access to the lease of a pipeline.
    pub(crate) fn lease(&self, pipeline: &str) -> Lease {
        Lease::new(self.handle(), pipeline)
    }

    /// Loads the checkpoint that the next run of a pipeline resumes from; none with `fresh`. The run
    /// begins with [`Session::take_generation`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if no checkpoint is intact any more.
    pub(crate) fn load(
        &self,
        pipeline: &str,
        retention: usize,
        fresh: bool,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let (row, before, loaded) = self.handle.block_on(self.handle.load(pipeline, fresh))?;
        Ok((Session::new(self.handle(), row, Some(before), retention), loaded))
    }

    /// Joins a run that another process begins. Returns the checkpoint that the run resumes from. The
    /// run commits nothing before all its processes have joined.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if an earlier run has committed since; another error if the database
    /// fails.
    pub(crate) fn join(
        &self,
        pipeline: &str,
        retention: usize,
        run: &RunId,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let (row, loaded) = self.handle.block_on(self.handle.join(pipeline, run))?;
        Ok((Session::new(self.handle(), row, None, retention), loaded))
    }

    /// Closes the database in order: no write-ahead log is left beside a file. Must not be called on a
    /// thread of an async runtime.
    pub fn close(self) {
        self.handle.block_on(self.handle.close());
    }
}

/// Converts progress to a signed number, as databases have them; the end is the largest.
fn to_sql(progress: impl Into<Progress>) -> i64 {
    match progress.into() {
        Progress::Reached(tick) => i64::try_from(tick).unwrap_or(i64::MAX),
        Progress::Ended | Progress::Failed => i64::MAX,
    }
}

fn from_sql(progress: i64) -> Progress {
    if progress == i64::MAX { Progress::Ended } else { progress.unsigned_abs().into() }
}

#[cfg(test)]
mod tests;
