//! A run's session in the store: it commits checkpoints while the run is the newest of its pipeline.

use std::time::SystemTime;

use schemas::{Progress, Tick};
use sqlx::{Any, Row, Transaction};

use crate::State;
use crate::store::checkpoints::{Stored, insert, load_latest};
use crate::store::generation::{Before, RunId};
use crate::store::{Listed, PipelineRow, StoreError, StoreHandle, from_sql, to_sql};

/// Maximum number of incremental checkpoints after a whole one. A whole checkpoint is also due when
/// they are larger together than the last whole one.
pub(super) const MAX_DELTAS: usize = 256;
const MIN_WHOLE_BYTES: usize = 256 * 1024;

/// The log to which a run commits its checkpoints.
pub(crate) trait CommitLog: Send {
    /// Commits a checkpoint: all changes since the previous one. Returns the tick at which a run from
    /// the oldest retained checkpoint starts.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if a newer run has begun; another error if the database fails. The
    /// checkpoint may or may not be committed then; the same call again commits it once.
    fn commit(&mut self, progress: Progress, changes: &State) -> Result<Tick, StoreError>;
}

/// A run's right to commit checkpoints of its pipeline, once it has taken its generation.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) store: StoreHandle,
    pub(super) pipeline: PipelineRow,
    /// The row that the run was loaded from, until the generation is taken.
    before: Option<Before>,
    /// Number of retained checkpoints.
    pub(super) retention: usize,
    /// Bytes of the latest whole checkpoint, and of each incremental one since.
    pub(super) whole_bytes: usize,
    pub(super) delta_bytes: Vec<usize>,
    /// The last attempted checkpoint, if the reply to its commit was lost.
    attempt: Option<Attempt>,
}

/// A checkpoint whose commit was attempted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    progress: Progress,
    checksum: i64,
    whole: bool,
    n_bytes: usize,
}

impl Session {
    /// Creates the session of a run; its first checkpoint is whole.
    pub(super) fn new(
        store: StoreHandle,
        pipeline: PipelineRow,
        before: Option<Before>,
        retention: usize,
    ) -> Self {
        let (retention, delta_bytes) = (retention.max(1), vec![0; MAX_DELTAS]);
        Self { store, pipeline, before, retention, whole_bytes: 0, delta_bytes, attempt: None }
    }

    /// Returns the store.
    pub(crate) fn store(&self) -> StoreHandle {
        self.store.clone()
    }

    /// Returns the name of the pipeline's history since a fresh start.
    pub(crate) fn lineage(&self) -> &str {
        &self.pipeline.lineage
    }

    /// Returns the number of this run in the pipeline.
    pub(crate) fn generation(&self) -> i64 {
        self.pipeline.generation
    }

    /// Returns the identity of the run, with which other processes join it.
    pub(crate) fn run_id(&self) -> RunId {
        let PipelineRow { lineage, generation, latest, .. } = self.pipeline.clone();
        RunId { generation, lineage, latest }
    }

    /// Begins the run: afterwards, earlier runs of the pipeline cannot commit. Does nothing in a
    /// process that has joined the run.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if an earlier run has committed since; another error if the database
    /// fails.
    pub(crate) fn take_generation(&mut self) -> Result<(), StoreError> {
        let Some(before) = self.before else { return Ok(()) };
        self.store.block_on(self.store.take_generation(&self.pipeline, before))?;
        self.before = None;
        Ok(())
    }

    /// Commits a checkpoint, but does not record the success, as after a lost reply.
    pub(crate) fn try_commit(
        &mut self,
        progress: Progress,
        changes: &State,
    ) -> Result<(Attempt, Tick), StoreError> {
        let store = self.store.clone();
        store.block_on(async {
            let mut transaction = store.pool.begin().await?;
            claim(&mut transaction, &self.pipeline).await?;
            let found = self.find_attempt(&mut transaction, progress).await?;
            let attempt = match found {
                Some(attempt) => attempt,
                None => self.add(&mut transaction, progress, changes).await?,
            };
            self.attempt = Some(attempt);
            let oldest = self.trim(&mut transaction).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>((attempt, oldest))
        })
    }

    /// Returns the previous attempt if the store has it: then only the reply to its commit was lost.
    async fn find_attempt(
        &self,
        transaction: &mut Transaction<'_, Any>,
        progress: Progress,
    ) -> Result<Option<Attempt>, StoreError> {
        let Some(attempt) = self.attempt.filter(|attempt| attempt.progress == progress) else {
            return Ok(None);
        };
        let select = "SELECT COUNT(*) FROM checkpoints
             WHERE pipeline = $1 AND tick = $2 AND generation = $3 AND checksum = $4";
        let select = sqlx::query(select).bind(self.pipeline.name.as_str()).bind(to_sql(progress));
        let select = select.bind(self.pipeline.generation).bind(attempt.checksum);
        let n_found: i64 = select.fetch_one(&mut **transaction).await?.try_get(0)?;
        Ok(Some(attempt).filter(|_| n_found > 0))
    }

    /// Adds a checkpoint, whole or incremental.
    #[expect(clippy::disallowed_methods, reason = "people want to know when")]
    async fn add(
        &self,
        transaction: &mut Transaction<'_, Any>,
        progress: Progress,
        changes: &State,
    ) -> Result<Attempt, StoreError> {
        let whole = self.is_whole_due();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let committed_at_ms = since_epoch.unwrap_or_default().as_millis() as i64;
        self.set_latest(transaction, progress).await?;
        let n_changes = i64::try_from(changes.n_entries()).unwrap_or(i64::MAX);
        let (base, body) = if whole {
            (progress, self.whole(transaction, changes).await?.encode())
        } else {
            (self.pipeline.latest.unwrap_or(progress), changes.encode())
        };
        let n_bytes = body.len();
        let listed = Listed {
            pipeline: self.pipeline.name.clone(),
            progress,
            generation: self.pipeline.generation,
            committed_at_ms,
            whole,
            n_changes,
            n_bytes,
        };
        let mut stored = Stored { listed, base, body, checksum: 0 };
        stored.checksum = stored.sum(&self.pipeline.lineage);
        let checksum = stored.checksum;
        insert(transaction, stored).await?;
        Ok(Attempt { progress, checksum, whole, n_bytes })
    }

    /// True if the run starts without the history of earlier runs: a fresh start, or the first run in
    /// this store.
    pub(crate) fn starts_anew(&self) -> bool {
        self.before.is_some_and(Before::starts_anew)
    }

    /// True if the next checkpoint must be whole.
    fn is_whole_due(&self) -> bool {
        self.pipeline.latest.is_none()
            || self.delta_bytes.len() >= MAX_DELTAS
            || self.delta_bytes.iter().sum::<usize>() > self.whole_bytes.max(MIN_WHOLE_BYTES)
    }

    /// Returns the state of the newest checkpoint with the changes applied.
    async fn whole(
        &self,
        transaction: &mut Transaction<'_, Any>,
        changes: &State,
    ) -> Result<State, StoreError> {
        let latest = load_latest(&mut **transaction, &self.pipeline, None).await?;
        if latest.as_ref().map(|latest| latest.progress) != self.pipeline.latest {
            return Err(StoreError::Damaged { pipeline: self.pipeline.name.clone() });
        }
        let mut state = latest.unwrap_or_default().state;
        state.apply(changes.clone());
        state.forget_removed();
        Ok(state)
    }

    /// Records the tick of the new checkpoint in the pipeline's row.
    async fn set_latest(
        &self,
        transaction: &mut Transaction<'_, Any>,
        progress: Progress,
    ) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE pipelines SET latest = $1 WHERE name = $2");
        let update = update.bind(to_sql(progress)).bind(self.pipeline.name.as_str());
        update.execute(&mut **transaction).await?;
        Ok(())
    }

    /// Deletes checkpoints and decisions that no retained checkpoint needs. Returns the tick of the
    /// oldest retained checkpoint.
    async fn trim(&self, transaction: &mut Transaction<'_, Any>) -> Result<Tick, StoreError> {
        let rows = "SELECT tick, base FROM checkpoints WHERE pipeline = $1 ORDER BY tick DESC";
        let rows = sqlx::query(rows)
            .bind(self.pipeline.name.as_str())
            .fetch_all(&mut **transaction)
            .await?;
        let ticks: Result<Vec<(i64, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        let ticks = ticks?;
        let oldest_kept =
            ticks.get(self.retention - 1).or(ticks.last()).map_or(0, |(tick, _)| *tick);
        let needed = ticks.iter().find(|(tick, base)| *tick <= oldest_kept && tick == base);
        if let Some((needed, _)) = needed {
            sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1 AND tick < $2")
                .bind(self.pipeline.name.as_str())
                .bind(*needed)
                .execute(&mut **transaction)
                .await?;
        }
        // The clock of a partition does not fall back behind the oldest checkpoint.
        sqlx::query("DELETE FROM decisions WHERE pipeline = $1 AND clock < $2")
            .bind(self.pipeline.name.as_str())
            .bind(oldest_kept)
            .execute(&mut **transaction)
            .await?;
        Ok(from_sql(oldest_kept).first_open())
    }
}

impl CommitLog for Session {
    fn commit(&mut self, progress: Progress, changes: &State) -> Result<Tick, StoreError> {
        let (attempt, oldest) = self.try_commit(progress, changes)?;
        self.attempt = None;
        self.pipeline.latest = Some(attempt.progress);
        if attempt.whole {
            (self.whole_bytes, self.delta_bytes) = (attempt.n_bytes, Vec::new());
        } else {
            self.delta_bytes.push(attempt.n_bytes);
        }
        Ok(oldest)
    }
}

/// Checks that this is still the pipeline's newest run, and locks out other runs until the transaction
/// ends.
pub(super) async fn claim(
    transaction: &mut Transaction<'_, Any>,
    pipeline: &PipelineRow,
) -> Result<(), StoreError> {
    let claim = "UPDATE pipelines SET generation = $1 WHERE name = $2 AND generation = $1";
    let claim = sqlx::query(claim).bind(pipeline.generation).bind(pipeline.name.as_str());
    if claim.execute(&mut **transaction).await?.rows_affected() == 1 {
        return Ok(());
    }
    let PipelineRow { name: pipeline, generation, .. } = pipeline.clone();
    Err(StoreError::Fenced { pipeline, generation })
}
