//! The table of decisions of sources.

use sources::{Decision, DecisionKind};
use sqlx::Row;

use crate::fail_point;
use crate::store::session::claim;
use crate::store::{PipelineRow, Session, StoreError, StoreHandle, from_sql, to_sql};

/// A run's access to the table of decisions.
#[derive(Debug)]
pub(crate) struct DecisionTable {
    store: StoreHandle,
    pipeline: PipelineRow,
}

impl Session {
    /// The table of the run's decisions.
    pub(crate) fn decisions(&self) -> DecisionTable {
        DecisionTable { store: self.store.clone(), pipeline: self.pipeline.clone() }
    }

    /// Lists the partitions that have decisions, each with its source.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn decided_partitions(&self) -> Result<Vec<(String, String)>, StoreError> {
        let select = sqlx::query(
            "SELECT DISTINCT source, partition_name FROM decisions WHERE pipeline = $1
             AND EXISTS (SELECT 1 FROM pipelines WHERE name = $1 AND lineage = $2)",
        );
        let select = select.bind(self.pipeline.name.as_str()).bind(self.pipeline.lineage.as_str());
        let rows = self.store.block_on(select.fetch_all(&self.store.pool))?;
        let partitions = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(partitions.collect::<Result<_, sqlx::Error>>()?)
    }

    /// Removes the decisions of sources whose state was dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn remove_decisions(&self, sources: &[String]) -> Result<(), StoreError> {
        for source in sources {
            let delete = sqlx::query("DELETE FROM decisions WHERE pipeline = $1 AND source = $2");
            let delete = delete.bind(self.pipeline.name.as_str()).bind(source.as_str());
            self.store.block_on(delete.execute(&self.store.pool))?;
        }
        Ok(())
    }
}

impl DecisionTable {
    /// Makes a decision durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails or a newer run has begun.
    pub(crate) fn store(
        &self,
        source: &str,
        partition: &str,
        decision: Decision,
    ) -> Result<(), StoreError> {
        fail_point::pass("before decision", source);
        self.store.block_on(async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.pipeline).await?;
            sqlx::query(
                "INSERT INTO decisions (pipeline, source, partition_name, place, kind, clock)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (pipeline, source, partition_name, place, kind)
                 DO UPDATE SET clock = CASE WHEN excluded.clock > decisions.clock
                 THEN excluded.clock ELSE decisions.clock END",
            )
            .bind(self.pipeline.name.as_str())
            .bind(source)
            .bind(partition)
            .bind(decision.offset.cast_signed())
            .bind(kind_to_sql(decision.kind))
            .bind(to_sql(decision.clock))
            .execute(&mut *transaction)
            .await?;
            Ok::<_, StoreError>(transaction.commit().await?)
        })?;
        fail_point::pass("after decision", source);
        Ok(())
    }

    /// Reads the decisions of a partition, in the order of their offsets. Decisions of another lineage
    /// are left out: the run may remove them soon.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn stored(
        &self,
        source: &str,
        partition: &str,
    ) -> Result<Vec<Decision>, StoreError> {
        let select = sqlx::query(
            "SELECT place, kind, clock FROM decisions
             WHERE pipeline = $1 AND source = $2 AND partition_name = $3
             AND EXISTS (SELECT 1 FROM pipelines WHERE name = $1 AND lineage = $4)
             ORDER BY place, kind",
        );
        let select = select.bind(self.pipeline.name.as_str()).bind(source).bind(partition);
        let select = select.bind(self.pipeline.lineage.as_str());
        let rows = self.store.block_on(select.fetch_all(&self.store.pool))?;
        let decisions = rows.iter().map(|row| {
            let (offset, kind) = (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?);
            let clock = from_sql(row.try_get(2)?).first_open();
            Ok(Decision { offset: offset.cast_unsigned(), clock, kind: kind_from_sql(kind) })
        });
        Ok(decisions.collect::<Result<_, sqlx::Error>>()?)
    }
}

fn kind_to_sql(kind: DecisionKind) -> i64 {
    match kind {
        DecisionKind::Idle => 0,
        DecisionKind::Refused => 1,
    }
}

fn kind_from_sql(kind: i64) -> DecisionKind {
    if kind == 0 { DecisionKind::Idle } else { DecisionKind::Refused }
}
