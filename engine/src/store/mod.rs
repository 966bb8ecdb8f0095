//! The store: checkpoints and leases of pipelines, in `SQLite` or Postgres.
//!
//! A checkpoint is one row: what changed since the one before it, or everything. So it is there as a
//! whole or not at all; its checksum tells what a disk did to it since. A run takes the next
//! generation of its pipeline when all of it is open, and only the newest generation can commit.

mod body;
mod checkpoints;
mod configuration;
mod decisions;
mod error;
mod generation;
mod handle;
mod holder;
mod lease;
mod session;

use std::path::Path;

use schemas::{Progress, Tick};

pub use crate::store::body::{ComponentState, State};
pub(crate) use crate::store::configuration::{ChangeLog, ZoneChange};
pub(crate) use crate::store::decisions::DecisionTable;
pub use crate::store::error::StoreError;
pub(crate) use crate::store::generation::RunId;
pub use crate::store::handle::StoreHandle;
pub(crate) use crate::store::lease::{Beat, Lease, LeaseState};
pub(crate) use crate::store::session::{CommitLog, Session};

/// A place for checkpoints, with a runtime of its own. Its methods wait; a [`StoreHandle`] does not.
///
/// Dropping it waits for nothing, and leaves what is under way to the database. [`Store::close`] ends in
/// order.
#[derive(Debug)]
pub struct Store {
    handle: StoreHandle,
}

/// The plan of a pipeline at a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Everything before this was processed before the checkpoint.
    pub progress: Progress,
    /// The state of each component.
    pub state: State,
}

/// A checkpoint as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The pipeline.
    pub pipeline: String,
    /// Everything before this was processed before the checkpoint.
    pub progress: Progress,
    /// The run that made it.
    pub generation: i64,
    /// When, in milliseconds since the Unix epoch.
    pub committed_at_ms: i64,
    /// True if it needs no other.
    pub whole: bool,
    /// Keys that changed.
    pub n_changes: i64,
    /// Its size.
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
    /// Opens the database at `location`, a `postgres://` URL or a file, which is made if need be.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if it cannot be reached or is no store.
    pub fn open(directory: &Path, location: &str) -> Result<Self, StoreError> {
        let opened = StoreHandle::open(directory, location);
        let handle = opened.map_err(|source| StoreError::open(location, source))?;
        Ok(Self { handle })
    }

    /// A handle for those who do not wait.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// The checkpoints of all pipelines.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        self.handle.block_on(self.handle.list())
    }

    /// The newest checkpoint of a pipeline that is intact, up to a tick.
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

    /// A process's side of the lease of a pipeline.
    pub(crate) fn lease(&self, pipeline: &str) -> Lease {
        Lease::new(self.handle(), pipeline)
    }

    /// Loads what the next run of a pipeline goes on from: nothing if it starts anew with `fresh`. The
    /// run has not begun before [`Session::take_generation`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if no checkpoint is whole any more.
    pub(crate) fn load(
        &self,
        pipeline: &str,
        retention: usize,
        fresh: bool,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let (row, before, loaded) = self.handle.block_on(self.handle.load(pipeline, fresh))?;
        Ok((Session::new(self.handle(), row, Some(before), retention), loaded))
    }

    /// Joins a run that another process begins. Gives what it goes on from: it commits nothing before
    /// all its processes have joined.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if an earlier run has committed since; another one if the database fails.
    pub(crate) fn join(
        &self,
        pipeline: &str,
        retention: usize,
        run: &RunId,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let (row, loaded) = self.handle.block_on(self.handle.join(pipeline, run))?;
        Ok((Session::new(self.handle(), row, None, retention), loaded))
    }

    /// Closes the database in order: a file is left without a log beside it. Not to be called on a
    /// runtime's own threads.
    pub fn close(self) {
        self.handle.block_on(self.handle.close());
    }
}

/// Databases have signed numbers; the end is the largest.
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
