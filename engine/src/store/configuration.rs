//! The table of configuration changes, which every replay applies again.

use schemas::Tick;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::fail_point;
use crate::store::session::claim;
use crate::store::{PipelineRow, Session, StoreError, StoreHandle, from_sql, to_sql};

/// A change of an item of an operator's configuration, such as a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredChange {
    /// The tick at which it takes effect.
    pub(crate) tick: Tick,
    /// The operator.
    pub(crate) operator: String,
    /// The name of the item.
    pub(crate) item: String,
    /// The value from then on, as JSON; none if the item was removed.
    pub(crate) value: Option<String>,
}

/// A run's access to the table of changes.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    store: StoreHandle,
    pipeline: PipelineRow,
}

impl Session {
    /// The log of configuration changes.
    pub(crate) fn change_log(&self) -> ChangeLog {
        ChangeLog { store: self.store.clone(), pipeline: self.pipeline.clone() }
    }
}

impl ChangeLog {
    /// Makes a change durable; must be called before it takes effect.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails or a newer run has begun. The change may or may not be
    /// stored then; the same call again stores it once.
    pub(crate) fn keep(&self, change: &StoredChange) -> Result<(), StoreError> {
        fail_point::pass("before change", &change.operator);
        self.store.block_on(async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.pipeline).await?;
            let (number, latest) = self.latest(&mut transaction).await?;
            if latest.as_ref() != Some(change) {
                self.insert(&mut transaction, number, change).await?;
            }
            Ok::<_, StoreError>(transaction.commit().await?)
        })?;
        fail_point::pass("after change", &change.operator);
        Ok(())
    }

    /// Returns the number of the next change, and the latest change. A change that equals the latest
    /// has no effect.
    async fn latest(
        &self,
        transaction: &mut Transaction<'_, Any>,
    ) -> Result<(i64, Option<StoredChange>), StoreError> {
        let select = sqlx::query(
            "SELECT tick, component, item, value, number FROM configuration
             WHERE pipeline = $1 ORDER BY number DESC LIMIT 1",
        );
        let row =
            select.bind(self.pipeline.name.as_str()).fetch_optional(&mut **transaction).await?;
        let Some(row) = row else { return Ok((0, None)) };
        let number: i64 = row.try_get(4)?;
        Ok((number.saturating_add(1), Some(self::change(&row)?)))
    }

    async fn insert(
        &self,
        transaction: &mut Transaction<'_, Any>,
        number: i64,
        change: &StoredChange,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO configuration (pipeline, number, tick, component, item, value)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(self.pipeline.name.as_str())
        .bind(number)
        .bind(to_sql(change.tick))
        .bind(change.operator.as_str())
        .bind(change.item.as_str())
        .bind(change.value.as_deref())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// Returns all changes, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub(crate) fn all(&self) -> Result<Vec<StoredChange>, StoreError> {
        let select = sqlx::query(
            "SELECT tick, component, item, value FROM configuration
             WHERE pipeline = $1 ORDER BY number",
        );
        let select = select.bind(self.pipeline.name.as_str());
        let rows = self.store.block_on(select.fetch_all(&self.store.pool))?;
        rows.iter().map(change).collect()
    }
}

fn change(row: &AnyRow) -> Result<StoredChange, StoreError> {
    Ok(StoredChange {
        tick: from_sql(row.try_get(0)?).first_open(),
        operator: row.try_get(1)?,
        item: row.try_get(2)?,
        value: row.try_get(3)?,
    })
}
