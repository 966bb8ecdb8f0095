//! For how long partitions were silent, beside the checkpoints.

use sources::Silence;
use sqlx::Row;

use crate::fail_point;
use crate::store::session::claim;
use crate::store::{Known, Session, StoreError, StoreHandle, from_sql, to_sql};

/// A run's part of the store for silences.
#[derive(Debug)]
pub(crate) struct SilenceLog {
    store: StoreHandle,
    known: Known,
}

impl Session {
    /// Where the run's sources keep the silence of their partitions.
    pub(crate) fn silences(&self) -> SilenceLog {
        SilenceLog { store: self.store.clone(), known: self.known.clone() }
    }

    /// The partitions of which silences are kept, each with its source.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn silent_partitions(&self) -> Result<Vec<(String, String)>, StoreError> {
        let select = sqlx::query(
            "SELECT DISTINCT source, partition_name FROM silences WHERE pipeline = $1
             AND EXISTS (SELECT 1 FROM pipelines WHERE name = $1 AND lineage = $2)",
        );
        let select = select.bind(self.known.name.as_str()).bind(self.known.lineage.as_str());
        let rows = self.store.block_on(select.fetch_all(&self.store.pool))?;
        let partitions = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(partitions.collect::<Result<_, sqlx::Error>>()?)
    }
}

impl Session {
    /// Forgets those of sources whose state is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn forget_silences(&self, sources: &[String]) -> Result<(), StoreError> {
        for source in sources {
            let delete = sqlx::query("DELETE FROM silences WHERE pipeline = $1 AND source = $2");
            let delete = delete.bind(self.known.name.as_str()).bind(source.as_str());
            self.store.block_on(delete.execute(&self.store.pool))?;
        }
        Ok(())
    }
}

impl SilenceLog {
    /// Makes a silence durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails or a newer run has begun.
    pub(crate) fn keep(
        &self,
        source: &str,
        partition: &str,
        silence: Silence,
    ) -> Result<(), StoreError> {
        fail_point::pass("before silence", source);
        self.store.block_on(async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.known).await?;
            sqlx::query(
                "INSERT INTO silences (pipeline, source, partition_name, place, clock)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (pipeline, source, partition_name, place)
                 DO UPDATE SET clock = CASE WHEN excluded.clock > silences.clock
                 THEN excluded.clock ELSE silences.clock END",
            )
            .bind(self.known.name.as_str())
            .bind(source)
            .bind(partition)
            .bind(to_sql(silence.offset))
            .bind(to_sql(silence.clock))
            .execute(&mut *transaction)
            .await?;
            Ok::<_, StoreError>(transaction.commit().await?)
        })?;
        fail_point::pass("after silence", source);
        Ok(())
    }

    /// Those of a partition, in the order of their offsets and clocks; none of another history, which
    /// the run may be about to forget.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn kept(&self, source: &str, partition: &str) -> Result<Vec<Silence>, StoreError> {
        let select = sqlx::query(
            "SELECT place, clock FROM silences
             WHERE pipeline = $1 AND source = $2 AND partition_name = $3
             AND EXISTS (SELECT 1 FROM pipelines WHERE name = $1 AND lineage = $4)
             ORDER BY place, clock",
        );
        let select = select.bind(self.known.name.as_str()).bind(source).bind(partition);
        let select = select.bind(self.known.lineage.as_str());
        let rows = self.store.block_on(select.fetch_all(&self.store.pool))?;
        let silences = rows.iter().map(|row| {
            let (place, clock) = (from_sql(row.try_get(0)?), from_sql(row.try_get(1)?));
            Ok(Silence { offset: place.first_open(), clock: clock.first_open() })
        });
        Ok(silences.collect::<Result<_, sqlx::Error>>()?)
    }
}
