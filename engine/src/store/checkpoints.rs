//! Checkpoints as rows: whole ones, and incremental ones, which refer to an earlier checkpoint.

use std::collections::BTreeMap;

use schemas::Progress;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::State;
use crate::store::{Checkpoint, Listed, PipelineRow, StoreError, from_sql, to_sql};

/// A row of the table of checkpoints.
pub(super) struct Stored {
    pub(super) listed: Listed,
    pub(super) base: Progress,
    pub(super) body: Vec<u8>,
    pub(super) checksum: i64,
}

/// Reads all checkpoints of a pipeline, oldest first.
pub(super) async fn stored<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    pipeline: &str,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query(
        "SELECT tick, base, generation, committed_at_ms, n_changes, body, checksum
         FROM checkpoints WHERE pipeline = $1 ORDER BY tick",
    )
    .bind(pipeline)
    .fetch_all(executor)
    .await?;
    let rows = rows.iter().map(|row| Stored::read(pipeline, row));
    Ok(rows.collect::<Result<_, sqlx::Error>>()?)
}

/// Adds a checkpoint. Replaces a checkpoint at the same tick, because a run may change its checkpoint
/// at the start.
pub(super) async fn insert(
    transaction: &mut Transaction<'_, Any>,
    stored: Stored,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO checkpoints
         (pipeline, tick, base, generation, committed_at_ms, n_changes, body, checksum)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (pipeline, tick) DO UPDATE SET
         base = excluded.base, generation = excluded.generation,
         committed_at_ms = excluded.committed_at_ms, n_changes = excluded.n_changes,
         body = excluded.body, checksum = excluded.checksum",
    )
    .bind(stored.listed.pipeline)
    .bind(to_sql(stored.listed.progress))
    .bind(to_sql(stored.base))
    .bind(stored.listed.generation)
    .bind(stored.listed.committed_at_ms)
    .bind(stored.listed.n_changes)
    .bind(stored.body)
    .bind(stored.checksum)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Stored {
    fn read(pipeline: &str, row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (progress, base) = (row.try_get(0)?, row.try_get(1)?);
        let body: Vec<u8> = row.try_get(5)?;
        let listed = Listed {
            pipeline: pipeline.to_owned(),
            progress: from_sql(progress),
            generation: row.try_get(2)?,
            committed_at_ms: row.try_get(3)?,
            whole: progress == base,
            n_changes: row.try_get(4)?,
            n_bytes: body.len(),
        };
        Ok(Self { listed, base: from_sql(base), body, checksum: row.try_get(6)? })
    }

    /// The checksum of pipeline, lineage, progress, base and body.
    pub(super) fn sum(&self, lineage: &str) -> i64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.listed.pipeline.as_bytes());
        hasher.update(lineage.as_bytes());
        for progress in [self.listed.progress, self.base] {
            hasher.update(&progress.first_open().to_le_bytes());
        }
        hasher.update(&self.body);
        hasher.finalize().into()
    }

    fn state(&self, lineage: &str) -> Option<State> {
        if self.checksum == self.sum(lineage) { State::decode(&self.body) } else { None }
    }
}

/// Loads the newest intact checkpoint of a pipeline, up to `up_to`; none if there is none. If all
/// checkpoints are damaged and `up_to` is none, that is an error.
pub(super) async fn load_latest<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    pipeline: &PipelineRow,
    up_to: Option<Progress>,
) -> Result<Option<Checkpoint>, StoreError> {
    let stored = stored(executor, &pipeline.name).await?;
    let by_progress: BTreeMap<Progress, &Stored> =
        stored.iter().map(|stored| (stored.listed.progress, stored)).collect();
    let wanted = |progress: &Progress| up_to.is_none_or(|up_to| *progress <= up_to);
    for progress in by_progress.keys().rev().copied().filter(wanted) {
        if let Some(state) = load(progress, &by_progress, &pipeline.lineage) {
            return Ok(Some(Checkpoint { progress, state }));
        }
        tracing::warn!(%progress, "a checkpoint is damaged, trying the one before");
    }
    let there_was = pipeline.latest.is_some() || !by_progress.is_empty();
    if there_was && up_to.is_none() {
        return Err(StoreError::Damaged { pipeline: pipeline.name.clone() });
    }
    Ok(None)
}

/// Restores the state of a checkpoint from its base and all changes since; none if any of them is
/// missing or damaged.
fn load(
    progress: Progress,
    by_progress: &BTreeMap<Progress, &Stored>,
    lineage: &str,
) -> Option<State> {
    let mut chain = Vec::new();
    let mut next = progress;
    loop {
        let stored = by_progress.get(&next)?;
        chain.push(stored.state(lineage)?);
        if stored.base == next {
            break;
        }
        next = stored.base;
    }
    let mut state = State::default();
    chain.into_iter().rev().for_each(|changes| state.apply(changes));
    state.forget_removed();
    Some(state)
}
