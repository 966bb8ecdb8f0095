//! The start of a run in the store. The run loads its checkpoint first, and takes its generation when
//! its sources and sinks are open. Until then an earlier run can commit.

use std::time::SystemTime;

use schemas::Progress;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Row};

use crate::store::checkpoints::load_latest;
use crate::store::{Checkpoint, PipelineRow, StoreError, StoreHandle, from_sql, to_sql};

/// The identity of a run for its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunId {
    pub(crate) generation: i64,
    pub(crate) lineage: String,
    /// The checkpoint that the run resumes from.
    pub(crate) latest: Option<Progress>,
}

/// The row of a pipeline when a run loaded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    generation: i64,
    /// The stored tick of the newest checkpoint; -1 before the first checkpoint.
    latest: i64,
    /// True for a fresh start.
    fresh: bool,
}

impl Before {
    /// True if the pipeline has no earlier run, or if the run discards the earlier history.
    pub(super) fn starts_anew(self) -> bool {
        self.fresh || self.generation == 0
    }
}

impl StoreHandle {
    /// Loads the row and the checkpoint of the pipeline's next run. Writes nothing.
    pub(super) async fn load(
        &self,
        pipeline: &str,
        fresh: bool,
    ) -> Result<(PipelineRow, Before, Option<Checkpoint>), StoreError> {
        let row = pipeline_row(&self.pool, pipeline).await?;
        // Without a row there are no checkpoints, unless the row was damaged.
        let row = row.unwrap_or_else(|| PipelineRow {
            name: pipeline.to_owned(),
            lineage: new_lineage(),
            generation: 0,
            latest: None,
        });
        let latest = row.latest.map_or(-1, to_sql);
        let before = Before { generation: row.generation, latest, fresh };
        let loaded = if fresh { None } else { load_latest(&self.pool, &row, None).await? };
        let row = PipelineRow {
            lineage: if fresh { new_lineage() } else { row.lineage },
            generation: row.generation.saturating_add(1),
            latest: loaded.as_ref().map(|checkpoint| checkpoint.progress),
            name: row.name,
        };
        Ok((row, before, loaded))
    }

    /// Loads the checkpoint of a run that another process begins.
    pub(super) async fn join(
        &self,
        pipeline: &str,
        run: &RunId,
    ) -> Result<(PipelineRow, Option<Checkpoint>), StoreError> {
        let RunId { generation, lineage, latest } = run.clone();
        let row = PipelineRow { name: pipeline.to_owned(), lineage, generation, latest };
        if latest.is_none() {
            return Ok((row, None));
        }
        let loaded = load_latest(&self.pool, &row, latest).await?;
        let loaded = loaded.filter(|checkpoint| Some(checkpoint.progress) == latest);
        let moved = || StoreError::Moved { pipeline: pipeline.to_owned() };
        Ok((row, Some(loaded.ok_or_else(moved)?)))
    }

    /// Takes the generation of a run: afterwards, earlier runs cannot commit. Fails if an earlier run
    /// has committed since this run was loaded.
    pub(super) async fn take_generation(
        &self,
        pipeline: &PipelineRow,
        before: Before,
    ) -> Result<(), StoreError> {
        let latest = if before.fresh { -1 } else { before.latest };
        let mut transaction = self.pool.begin().await?;
        let taken = sqlx::query(
            "INSERT INTO pipelines (name, lineage, generation, latest) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET lineage = excluded.lineage,
             generation = excluded.generation, latest = excluded.latest
             WHERE pipelines.generation = $5 AND pipelines.latest = $6",
        )
        .bind(pipeline.name.as_str())
        .bind(pipeline.lineage.as_str())
        .bind(pipeline.generation)
        .bind(latest)
        .bind(before.generation)
        .bind(before.latest)
        .execute(&mut *transaction)
        .await?;
        if taken.rows_affected() != 1 {
            return Err(StoreError::Moved { pipeline: pipeline.name.clone() });
        }
        // Removes damaged checkpoints that are newer than the loaded one.
        sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1 AND tick > $2")
            .bind(pipeline.name.as_str())
            .bind(pipeline.latest.map_or(-1, to_sql))
            .execute(&mut *transaction)
            .await?;
        if before.fresh {
            sqlx::query("DELETE FROM decisions WHERE pipeline = $1")
                .bind(pipeline.name.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Reads the row of a pipeline; none before its first run.
pub(super) async fn pipeline_row<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    pipeline: &str,
) -> Result<Option<PipelineRow>, StoreError> {
    let row = sqlx::query("SELECT lineage, generation, latest FROM pipelines WHERE name = $1");
    let Some(row) = row.bind(pipeline).fetch_optional(executor).await? else { return Ok(None) };
    let latest: i64 = row.try_get(2)?;
    Ok(Some(PipelineRow {
        name: pipeline.to_owned(),
        lineage: row.try_get(0)?,
        generation: row.try_get(1)?,
        latest: (latest >= 0).then(|| from_sql(latest)),
    }))
}

/// Returns a name that no other history has.
#[expect(clippy::disallowed_methods, reason = "a fresh start is told from others by its time")]
fn new_lineage() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since_epoch.as_nanos(), std::process::id())
}
