//! The tables of SQL queries: each Delta table with its uncommitted rows, and views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use deltalake::DeltaTable;
use schemas::{Record, RecordKind, Tick};
use storage::Location;
use tokio::sync::Mutex;

use crate::narrow_scan::NarrowScan;
use crate::timestamps::with_timestamps;
use crate::{History, LiveTail};

/// The view with one row for each person in each frame, with the most used columns.
pub const PERSONS: &str = "persons";
const PERSONS_SQL: &str = "
    SELECT captured_at, captured_at_ns, site, source, frame_id,
        person['id'] AS person, person['position']['x_m'] AS x_m, person['position']['y_m'] AS y_m,
        person['zone'] AS zone, person['activity'] AS activity, person['confidence'] AS confidence,
        source_kind
    FROM (SELECT *, unnest(persons) AS person FROM poses)";
/// The fields of people that the view does not have. They are most of the bytes of a table.
const NOT_IN_VIEW: [&str; 2] = ["keypoints", "bounding_box"];
/// From the next version on, readers apply deletion vectors or column mappings.
const PLAIN_READER_VERSION: i32 = 1;

/// The tables of a history. A query opens the tables that it names.
#[derive(Debug)]
pub(crate) struct HistorySchema {
    place: Location,
    tail: Option<Arc<dyn LiveTail>>,
    /// The committed tables. They include tables of rows, whose names and columns the pipeline defines.
    committed: Vec<String>,
    /// The tables that the query has opened: all its parts see the same rows.
    opened: Mutex<BTreeMap<String, Arc<Opened>>>,
}

/// The rows of a table.
#[derive(Debug)]
struct Opened {
    committed: Option<DeltaTable>,
    /// The rows that are not committed; none for a table without columns.
    fresh: Option<Arc<dyn TableProvider>>,
}

impl HistorySchema {
    pub(crate) async fn of(history: &History) -> Result<Self> {
        let (place, tail) = (history.place().clone(), history.tail().cloned());
        let committed = place.tables().await.map_err(external)?;
        Ok(Self { place, tail, committed, opened: Mutex::default() })
    }

    /// Returns the rows of a table that are not committed, with their ticks.
    fn tail_of(&self, table: &str) -> Vec<(Tick, Record)> {
        let Some(tail) = &self.tail else { return Vec::new() };
        let mut rows = tail.rows(table, None);
        let mut n_before = 0;
        while rows.len() > n_before {
            n_before = rows.len();
            let last = rows.last().map(|(tick, _)| *tick);
            rows.extend(tail.rows(table, last));
        }
        rows
    }

    /// Opens the current version of a table, with its uncommitted rows.
    async fn open(&self, name: &str) -> Result<Opened> {
        // Read before the table: rows that are committed in between are in both, and their tick excludes
        // them below.
        let tail = self.tail_of(name);
        let committed = self.committed(name).await?;
        let upper = match &committed {
            Some(table) => self.upper(table).await?,
            None => 0,
        };
        let fresh = tail.into_iter().filter(|(tick, _)| *tick >= upper);
        let fresh: Vec<_> = fresh.map(|(_, record)| record).collect();
        let is_needed = committed.is_none() || !fresh.is_empty();
        let fresh = if is_needed { in_memory(name, &fresh)? } else { None };
        Ok(Opened { committed, fresh })
    }

    /// Opens the Delta table, if it exists. It may have been created after this schema was opened.
    async fn committed(&self, name: &str) -> Result<Option<DeltaTable>> {
        self.place.join(name).open_existing().await.map_err(external)
    }

    /// Returns the table's upper: the table contains all records of this run before this tick.
    async fn upper(&self, table: &DeltaTable) -> Result<u64> {
        let Some(tail) = &self.tail else { return Ok(0) };
        let snapshot = table.snapshot().map_err(external)?;
        let log_store = table.log_store();
        let version = snapshot.transaction_version(log_store.as_ref(), tail.writer()).await;
        Ok(version.map_err(external)?.unwrap_or(0).unsigned_abs())
    }

    /// Returns a table with its timestamps, without the fields `dropped` of its structs. Returns none if the table does
    /// not exist.
    async fn table_without(
        &self,
        dropped: &'static [&'static str],
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let mut all = self.opened.lock().await;
        if !all.contains_key(name) {
            all.insert(name.to_owned(), Arc::new(self.open(name).await?));
        }
        let Some(opened) = all.get(name).map(Arc::clone) else { return Ok(None) };
        drop(all);
        opened.provider(dropped).await?.map(with_timestamps).transpose()
    }

    async fn persons(&self) -> Result<Arc<dyn TableProvider>> {
        let context = SessionContext::new();
        let poses = RecordKind::Pose.table();
        let table = self.table_without(&NOT_IN_VIEW, poses).await?;
        let table = table.ok_or_else(|| DataFusionError::Plan(format!("no table {poses}")))?;
        context.register_table(poses, table)?;
        Ok(context.sql(PERSONS_SQL).await?.into_view())
    }
}

impl Opened {
    /// Returns the table of these rows, without the fields `dropped` of its structs. Returns none for a table that has
    /// neither committed rows nor known columns.
    async fn provider(
        &self,
        dropped: &'static [&'static str],
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let narrow = |table: Arc<dyn TableProvider>, is_plain| -> Arc<dyn TableProvider> {
            if dropped.is_empty() {
                return table;
            }
            Arc::new(NarrowScan::new(table, dropped, is_plain))
        };
        let fresh = self.fresh.clone().map(|fresh| narrow(fresh, false));
        let Some(table) = &self.committed else { return Ok(fresh) };
        let committed = table.table_provider().await.map_err(external)?;
        let committed = narrow(committed, is_plain(table)?);
        let Some(fresh) = fresh else { return Ok(Some(committed)) };
        let context = SessionContext::new();
        table.update_datafusion_session(&context.state()).map_err(external)?;
        // Each side may have columns that the other side does not have.
        let both = context.read_table(committed)?.union_by_name(context.read_table(fresh)?)?;
        Ok(Some(both.into_view()))
    }
}

/// True if the files of a table have its rows as they are.
fn is_plain(table: &DeltaTable) -> Result<bool> {
    let snapshot = table.snapshot().map_err(external)?;
    Ok(snapshot.protocol().min_reader_version() == PLAIN_READER_VERSION)
}

#[async_trait::async_trait]
impl SchemaProvider for HistorySchema {
    fn table_names(&self) -> Vec<String> {
        let tables = RecordKind::ALL.map(RecordKind::table).into_iter().chain([PERSONS]);
        let of_rows = self.committed.iter().cloned();
        let of_tail = self.tail.iter().flat_map(|tail| tail.tables());
        let tables: BTreeSet<_> = tables.map(str::to_owned).chain(of_rows).chain(of_tail).collect();
        tables.into_iter().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == PERSONS {
            return self.persons().await.map(Some);
        }
        // Any other name could be a path.
        if !self.table_exist(name) {
            return Ok(None);
        }
        self.table_without(&[], name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}

/// Returns records as a table. The columns are those of the table name, or else of the first record; none
/// without both.
fn in_memory(name: &str, records: &[Record]) -> Result<Option<Arc<dyn TableProvider>>> {
    let kind = RecordKind::ALL.into_iter().find(|kind| kind.table() == name);
    let batch = match kind {
        Some(kind) => kind.to_batch(records),
        None if records.is_empty() => return Ok(None),
        None => Record::to_batch(records),
    };
    let batch = batch.map_err(external)?;
    Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
}

fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
