//! `information_schema`: what tables and columns there are, and nothing about the engine.

use std::sync::Arc;

use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::error::Result;
use datafusion::prelude::{SessionContext, col, lit};

/// The tables that describe the history. The others describe the engine's settings and functions.
const TABLES: [&str; 4] = ["columns", "schemata", "tables", "views"];

/// The tables and columns of one catalog.
#[derive(Debug)]
pub(crate) struct InformationSchema(InformationSchemaProvider);

impl InformationSchema {
    pub(crate) fn new(name: &str, catalog: Arc<dyn CatalogProvider>) -> Self {
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(name.to_owned(), catalog);
        Self(InformationSchemaProvider::new(Arc::new(catalogs)))
    }
}

#[async_trait::async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        self.0.table(name).await?.map(without_itself).transpose()
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

/// Excludes the tables that describe the engine.
fn without_itself(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let has_schemas = table.schema().index_of("table_schema").is_ok();
    let mut frame = SessionContext::new().read_table(table)?;
    if has_schemas {
        frame = frame.filter(col("table_schema").not_eq(lit("information_schema")))?;
    }
    Ok(frame.into_view())
}
