//! What clients of the API have set for a pipeline, or have asked of it: items with names, as JSON.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::store::{StoreError, StoreHandle};

/// The kind of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// The settings of a device that sends CSI.
    Router,
    /// The rule of an alert.
    Alert,
    /// The subscription of a webhook.
    Webhook,
    /// A report that was asked for.
    Report,
    /// The rows of a report.
    ReportRows,
}

impl ItemKind {
    /// The name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Alert => "alert",
            Self::Webhook => "webhook",
            Self::Report => "report",
            Self::ReportRows => "report_rows",
        }
    }
}

/// Access to the items of a pipeline in a store. All its processes have the same items.
#[derive(Clone, Debug)]
pub struct ItemStore {
    store: StoreHandle,
    pipeline: String,
}

impl ItemStore {
    pub(super) fn new(store: StoreHandle, pipeline: String) -> Self {
        Self { store, pipeline }
    }

    /// Returns the items of a kind, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn all(&self, kind: ItemKind) -> Result<BTreeMap<String, String>, StoreError> {
        let select = sqlx::query("SELECT name, body FROM items WHERE pipeline = $1 AND kind = $2");
        let select = select.bind(&*self.pipeline).bind(kind.as_str());
        let rows = select.fetch_all(&self.store.pool).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Returns an item; none if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn get(&self, kind: ItemKind, name: &str) -> Result<Option<String>, StoreError> {
        let select = "SELECT body FROM items WHERE pipeline = $1 AND kind = $2 AND name = $3";
        let select = sqlx::query(select).bind(&*self.pipeline).bind(kind.as_str()).bind(name);
        let row = select.fetch_optional(&self.store.pool).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Adds or replaces an item.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn set(&self, kind: ItemKind, name: &str, body: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO items (pipeline, kind, name, body) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pipeline, kind, name) DO UPDATE SET body = excluded.body";
        let insert = sqlx::query(insert).bind(&*self.pipeline).bind(kind.as_str());
        insert.bind(name).bind(body).execute(&self.store.pool).await?;
        Ok(())
    }

    /// Replaces an item. Returns false if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn replace(
        &self,
        kind: ItemKind,
        name: &str,
        body: &str,
    ) -> Result<bool, StoreError> {
        let update = "UPDATE items SET body = $4 WHERE pipeline = $1 AND kind = $2 AND name = $3";
        let update = sqlx::query(update).bind(&*self.pipeline).bind(kind.as_str());
        let updated = update.bind(name).bind(body).execute(&self.store.pool).await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Removes an item. Returns false if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove(&self, kind: ItemKind, name: &str) -> Result<bool, StoreError> {
        let delete = "DELETE FROM items WHERE pipeline = $1 AND kind = $2 AND name = $3";
        let delete = sqlx::query(delete).bind(&*self.pipeline).bind(kind.as_str()).bind(name);
        Ok(delete.execute(&self.store.pool).await?.rows_affected() == 1)
    }
}
