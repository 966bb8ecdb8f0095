//! The tables that SQL sees: each Delta table with the rows that are not in it yet, and views.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use deltalake::{DeltaTable, ensure_table_uri};
use schemas::{Record, RecordKind};

use crate::LiveTail;

/// One row for each person in each frame, with the columns that questions are about.
const PERSONS: &str = "persons";
const PERSONS_SQL: &str = "
    SELECT to_timestamp_nanos(captured_at_ns) AS captured_at, captured_at_ns, site, source, frame_id,
        person['id'] AS person, person['position']['x_m'] AS x_m, person['position']['y_m'] AS y_m,
        person['zone'] AS zone, person['activity'] AS activity, person['confidence'] AS confidence,
        source_kind
    FROM (SELECT *, unnest(persons) AS person FROM poses)";

/// The tables of a history. They are opened when a query names them.
#[derive(Debug)]
pub(crate) struct HistorySchema {
    folder: PathBuf,
    tail: Option<Arc<dyn LiveTail>>,
}

impl HistorySchema {
    pub(crate) fn new(folder: PathBuf, tail: Option<Arc<dyn LiveTail>>) -> Self {
        Self { folder, tail }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A table as of now.
    async fn open(&self, kind: RecordKind) -> Result<Arc<dyn TableProvider>> {
        // Before the table: what is committed in between is then in both, and sorted out by its tick.
        let tail = self.tail.as_ref().map(|tail| tail.rows(kind)).unwrap_or_default();
        let Some(table) = self.committed(kind).await? else {
            return in_memory(kind, tail.into_iter().map(|(_, record)| record));
        };
        let upper = self.upper(&table).await?;
        let fresh: Vec<_> = tail.into_iter().filter(|(tick, _)| *tick >= upper).collect();
        let committed = table.table_provider().await.map_err(external)?;
        if fresh.is_empty() {
            return Ok(committed);
        }
        let context = SessionContext::new();
        table.update_datafusion_session(&context.state()).map_err(external)?;
        let fresh = in_memory(kind, fresh.into_iter().map(|(_, record)| record))?;
        let both = context.read_table(committed)?.union(context.read_table(fresh)?)?;
        Ok(both.into_view())
    }

    /// The Delta table, if there is one.
    async fn committed(&self, kind: RecordKind) -> Result<Option<DeltaTable>> {
        let folder = self.folder.join(kind.table());
        if !fs::exists(folder.join("_delta_log"))? {
            return Ok(None);
        }
        let uri = ensure_table_uri(folder.to_string_lossy()).map_err(external)?;
        deltalake::open_table(uri).await.map(Some).map_err(external)
    }

    /// Everything of this run before this tick is in the table.
    async fn upper(&self, table: &DeltaTable) -> Result<u64> {
        let Some(tail) = &self.tail else { return Ok(0) };
        let snapshot = table.snapshot().map_err(external)?;
        let log_store = table.log_store();
        let version = snapshot.transaction_version(log_store.as_ref(), tail.writer()).await;
        Ok(version.map_err(external)?.unwrap_or(0).unsigned_abs())
    }

    async fn persons(&self) -> Result<Arc<dyn TableProvider>> {
        let context = SessionContext::new();
        context.register_table("poses", self.open(RecordKind::Pose).await?)?;
        Ok(context.sql(PERSONS_SQL).await?.into_view())
    }
}

#[async_trait::async_trait]
impl SchemaProvider for HistorySchema {
    fn table_names(&self) -> Vec<String> {
        let tables = RecordKind::ALL.map(RecordKind::table);
        tables.into_iter().chain([PERSONS]).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == PERSONS {
            return self.persons().await.map(Some);
        }
        match RecordKind::ALL.into_iter().find(|kind| kind.table() == name) {
            Some(kind) => self.open(kind).await.map(Some),
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}

fn in_memory(
    kind: RecordKind,
    rows: impl Iterator<Item = Record>,
) -> Result<Arc<dyn TableProvider>> {
    let batch = kind.to_batch(&rows.collect::<Vec<_>>()).map_err(external)?;
    Ok(Arc::new(MemTable::try_new(kind.arrow_schema(), vec![vec![batch]])?))
}

fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
