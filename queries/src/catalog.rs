//! The schemas of a session, in the order of their names: clients of `PostgreSQL` know tables by numbers, which
//! count in this order.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::error::Result;

/// A catalog with schemas.
#[derive(Debug, Default)]
pub(crate) struct Catalog(RwLock<BTreeMap<String, Arc<dyn SchemaProvider>>>);

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), schema))
    }

    fn deregister_schema(
        &self,
        name: &str,
        _cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name))
    }
}
