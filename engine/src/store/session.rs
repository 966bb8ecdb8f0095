//! A run's side of the store: it commits, as long as it is its pipeline's newest.

use std::sync::Arc;
use std::time::SystemTime;

use schemas::Tick;
use sqlx::{Any, Row, Transaction};

use crate::State;
use crate::store::checkpoints::{Stored, insert, load_latest};
use crate::store::{Known, Listed, Store, StoreError, from_sql, to_sql};

/// A checkpoint that adds to others is small; after so many, or when they are larger together than
/// what they add to, a whole one is made.
pub(super) const MAX_DELTAS: usize = 256;
const MIN_WHOLE_BYTES: usize = 256 * 1024;

/// A run's right to commit checkpoints of its pipeline.
#[derive(Debug)]
pub struct Session {
    pub(super) store: Arc<Store>,
    pub(super) known: Known,
    /// Checkpoints that older ones are kept behind.
    pub(super) retention: usize,
    /// Bytes of the latest whole checkpoint, and of each that adds to it.
    pub(super) whole_bytes: usize,
    pub(super) delta_bytes: Vec<usize>,
}

impl Session {
    /// The session of a run that has begun; its first checkpoint is whole.
    pub(super) fn new(store: Arc<Store>, known: Known, retention: usize) -> Self {
        let (retention, delta_bytes) = (retention.max(1), vec![0; MAX_DELTAS]);
        Self { store, known, retention, whole_bytes: 0, delta_bytes }
    }

    /// Names the pipeline's history of checkpoints.
    pub fn lineage(&self) -> &str {
        &self.known.lineage
    }

    /// This run's number among those of the pipeline.
    pub fn generation(&self) -> i64 {
        self.known.generation
    }

    /// Commits a checkpoint: all that changed since the one before, up to `tick`. Gives the ticks of
    /// the oldest checkpoint that is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if a newer run has begun; another one if the database fails. Nothing was
    /// committed then.
    #[expect(clippy::disallowed_methods, reason = "people want to know when")]
    pub fn commit(&mut self, tick: Tick, changes: &State) -> Result<Tick, StoreError> {
        let whole = self.known.latest.is_none()
            || self.delta_bytes.len() >= MAX_DELTAS
            || self.delta_bytes.iter().sum::<usize>() > self.whole_bytes.max(MIN_WHOLE_BYTES);
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let committed_at_ms = since_epoch.unwrap_or_default().as_millis() as i64;
        let commit = async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.known).await?;
            self.set_latest(&mut transaction, tick).await?;
            let n_changes = i64::try_from(changes.n_entries()).unwrap_or(i64::MAX);
            let (base, body) = if whole {
                let latest = load_latest(&mut *transaction, &self.known, None).await?;
                if latest.as_ref().map(|latest| latest.tick) != self.known.latest {
                    return Err(StoreError::Damaged { pipeline: self.known.name.clone() });
                }
                let mut state = latest.unwrap_or_default().state;
                state.apply(changes.clone());
                state.forget_removed();
                (tick, state.encode())
            } else {
                (self.known.latest.unwrap_or(tick), changes.encode())
            };
            let n_bytes = body.len();
            let listed = Listed {
                pipeline: self.known.name.clone(),
                tick,
                generation: self.known.generation,
                committed_at_ms,
                whole,
                n_changes,
                n_bytes,
            };
            let mut stored = Stored { listed, base, body, checksum: 0 };
            stored.checksum = stored.sum(&self.known.lineage);
            insert(&mut transaction, stored).await?;
            let oldest = self.trim(&mut transaction).await?;
            transaction.commit().await?;
            Ok((n_bytes, oldest))
        };
        let (n_bytes, oldest) = self.store.runtime.block_on(commit)?;
        self.known.latest = Some(tick);
        if whole {
            (self.whole_bytes, self.delta_bytes) = (n_bytes, Vec::new());
        } else {
            self.delta_bytes.push(n_bytes);
        }
        Ok(oldest)
    }

    /// Notes the checkpoint to come.
    async fn set_latest(
        &self,
        transaction: &mut Transaction<'_, Any>,
        tick: Tick,
    ) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE pipelines SET latest = $1 WHERE name = $2");
        let update = update.bind(to_sql(tick)).bind(self.known.name.as_str());
        update.execute(&mut **transaction).await?;
        Ok(())
    }

    /// Deletes what no checkpoint that is kept needs. Gives the oldest that is kept.
    async fn trim(&self, transaction: &mut Transaction<'_, Any>) -> Result<Tick, StoreError> {
        let rows = "SELECT tick, base FROM checkpoints WHERE pipeline = $1 ORDER BY tick DESC";
        let rows =
            sqlx::query(rows).bind(self.known.name.as_str()).fetch_all(&mut **transaction).await?;
        let ticks: Result<Vec<(i64, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        let ticks = ticks?;
        let oldest_kept =
            ticks.get(self.retention - 1).or(ticks.last()).map_or(0, |(tick, _)| *tick);
        let needed = ticks.iter().find(|(tick, base)| *tick <= oldest_kept && tick == base);
        if let Some((needed, _)) = needed {
            sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1 AND tick < $2")
                .bind(self.known.name.as_str())
                .bind(*needed)
                .execute(&mut **transaction)
                .await?;
        }
        // A partition that stands beyond a checkpoint does not fall back behind it.
        sqlx::query("DELETE FROM silences WHERE pipeline = $1 AND clock < $2")
            .bind(self.known.name.as_str())
            .bind(oldest_kept)
            .execute(&mut **transaction)
            .await?;
        Ok(from_sql(oldest_kept))
    }
}

/// Makes sure that this is still the pipeline's newest run; locks out others until the transaction
/// is over.
pub(super) async fn claim(
    transaction: &mut Transaction<'_, Any>,
    known: &Known,
) -> Result<(), StoreError> {
    let claim = "UPDATE pipelines SET generation = $1 WHERE name = $2 AND generation = $1";
    let claim = sqlx::query(claim).bind(known.generation).bind(known.name.as_str());
    if claim.execute(&mut **transaction).await?.rows_affected() == 1 {
        return Ok(());
    }
    let Known { name: pipeline, generation, .. } = known.clone();
    Err(StoreError::Fenced { pipeline, generation })
}
