//! For how long partitions were silent, beside the checkpoints.

use std::sync::Arc;

use sources::{Silence, Silences, SourceError};
use sqlx::Row;

use crate::fail_point;
use crate::store::session::claim;
use crate::store::{Known, Session, Store, StoreError, from_sql, to_sql};

/// A run's part of the store for silences.
#[derive(Debug)]
pub(crate) struct SilenceLog {
    store: Arc<Store>,
    known: Known,
}

impl Session {
    /// Where the run's sources keep the silence of their partitions.
    pub(crate) fn silences(&self) -> Arc<dyn Silences> {
        Arc::new(SilenceLog { store: Arc::clone(&self.store), known: self.known.clone() })
    }
}

impl SilenceLog {
    fn insert(&self, source: &str, partition: &str, silence: Silence) -> Result<(), StoreError> {
        self.store.runtime.block_on(async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.known).await?;
            sqlx::query(
                "INSERT INTO silences (pipeline, source, partition_name, place, clock)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (pipeline, source, partition_name, place)
                 DO UPDATE SET clock = excluded.clock",
            )
            .bind(self.known.name.as_str())
            .bind(source)
            .bind(partition)
            .bind(to_sql(silence.offset))
            .bind(to_sql(silence.clock))
            .execute(&mut *transaction)
            .await?;
            Ok(transaction.commit().await?)
        })
    }

    fn select(&self, source: &str, partition: &str) -> Result<Vec<Silence>, StoreError> {
        let select = sqlx::query(
            "SELECT place, clock FROM silences
             WHERE pipeline = $1 AND source = $2 AND partition_name = $3 ORDER BY place, clock",
        );
        let select = select.bind(self.known.name.as_str()).bind(source).bind(partition);
        let rows = self.store.runtime.block_on(select.fetch_all(&self.store.pool))?;
        let silences = rows.iter().map(|row| {
            Ok(Silence { offset: from_sql(row.try_get(0)?), clock: from_sql(row.try_get(1)?) })
        });
        Ok(silences.collect::<Result<_, sqlx::Error>>()?)
    }
}

impl Silences for SilenceLog {
    fn keep(&self, source: &str, partition: &str, silence: Silence) -> Result<(), SourceError> {
        fail_point::pass("before silence", source);
        self.insert(source, partition, silence).map_err(|error| failed(source, error))?;
        fail_point::pass("after silence", source);
        Ok(())
    }

    fn kept(&self, source: &str, partition: &str) -> Result<Vec<Silence>, SourceError> {
        self.select(source, partition).map_err(|error| failed(source, error))
    }
}

fn failed(name: &str, error: StoreError) -> SourceError {
    SourceError::Silence { name: name.to_owned(), source: Box::new(error) }
}
