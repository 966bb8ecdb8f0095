//! The templates of pipeline files in a store.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::store::{StoreError, StoreHandle};

/// Access to the templates in a store. Every pipeline of the store has the same templates.
#[derive(Clone, Debug)]
pub struct TemplateStore(StoreHandle);

impl TemplateStore {
    pub(super) fn new(store: StoreHandle) -> Self {
        Self(store)
    }

    /// Returns the texts of all templates, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn all(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let select = sqlx::query("SELECT name, body FROM templates");
        let rows = select.fetch_all(&self.0.pool).await?;
        let templates = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        templates.collect()
    }

    /// Adds or replaces a template.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn set(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO templates (name, body) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET body = excluded.body";
        sqlx::query(insert).bind(name).bind(text).execute(&self.0.pool).await?;
        Ok(())
    }

    /// Removes a template. Returns false if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM templates WHERE name = $1").bind(name);
        Ok(delete.execute(&self.0.pool).await?.rows_affected() == 1)
    }
}
