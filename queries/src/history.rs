//! The history: runs queries on its tables, with limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::common::config::Dialect;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use schemas::{Record, Tick};
use tokio::runtime::Runtime;

use crate::QueryError;
use crate::guard::{check_reads, check_size, read_only};
use crate::tables::HistorySchema;

/// Memory limit of one query.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Stack size of the query threads: planning recurses.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The names of the catalog and the schema of the tables.
const CATALOG: &str = "fresnel";
const SCHEMA: &str = "history";
/// Number of threads for all queries, separate from the threads that ingest records.
const THREADS: usize = 2;

/// Rows that a sink has accepted but not committed.
pub trait LiveTail: fmt::Debug + Send + Sync {
    /// Returns the sink's name as a writer. Its transaction version in a table is the table's upper.
    fn writer(&self) -> &str;

    /// Returns the names of the tables with such rows.
    fn tables(&self) -> Vec<String>;

    /// Returns the rows of a table with their ticks. Some of the rows may be committed meanwhile.
    fn rows(&self, table: &str) -> Vec<(Tick, Record)>;
}

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum time from the query to its answer.
    pub timeout: Duration,
    /// Maximum number of rows of an answer.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), rows: 100_000 }
    }
}

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

/// A folder of tables, with the rows that are not committed yet.
#[derive(Debug)]
pub struct History {
    schema: Arc<HistorySchema>,
}

/// Queries have their own threads: a query that never yields delays only other queries.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).thread_stack_size(STACK_BYTES).enable_all();
    runtime.thread_name("query").build().expect("the system can start a few threads")
});

impl History {
    /// Creates a history of the tables in `folder`, which may not exist yet.
    pub fn new(folder: PathBuf, tail: Option<Arc<dyn LiveTail>>) -> Self {
        // Delta needs absolute paths.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { schema: Arc::new(HistorySchema::new(folder, tail)) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.schema.folder()
    }

    /// Answers one read-only statement from the newest rows.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the statement is refused, is invalid, or exceeds a limit.
    pub async fn query(&self, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
        check_size(sql)?;
        let (context, sql) = (self.session()?, sql.to_owned());
        let answer = RUNTIME.spawn(async move {
            let answer = answer(&context, &sql, limits.rows);
            let answer = tokio::time::timeout(limits.timeout, answer).await;
            answer.map_err(|_| QueryError::TimedOut(limits.timeout))?
        });
        // The inner time-out works only if the query yields; the outer time-out always works.
        let answer = tokio::time::timeout(limits.timeout + Duration::from_secs(1), answer).await;
        let answer = answer.map_err(|_| QueryError::TimedOut(limits.timeout))?;
        answer.map_err(|_| QueryError::Interrupted)?
    }

    /// Creates a session with the tables of the history only.
    fn session(&self) -> Result<SessionContext, QueryError> {
        let config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_information_schema(true)
            .with_target_partitions(THREADS);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::clone(&self.schema) as _)?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        context.register_udf(time_bucket());
        Ok(context)
    }
}

async fn answer(
    context: &SessionContext,
    sql: &str,
    max_rows: usize,
) -> Result<Answer, QueryError> {
    if let Ok(statement) = context.state().sql_to_statement(sql, &Dialect::Generic) {
        check_reads(&statement)?;
        check_tables(context, &statement)?;
    }
    let frame = context.sql_with_options(sql, read_only()).await?;
    let schema = Arc::clone(frame.schema().inner());
    let mut stream = frame.execute_stream().await?;
    let (mut batches, mut n_rows) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await.transpose()? {
        n_rows += batch.num_rows();
        if n_rows > max_rows {
            return Err(QueryError::TooLong(max_rows));
        }
        batches.push(batch);
    }
    Ok(Answer { schema, batches })
}

/// Refuses tables that the history does not have. Other invalid queries pass: their planning fails.
fn check_tables(context: &SessionContext, statement: &Statement) -> Result<(), QueryError> {
    let state = context.state();
    let Ok(references) = state.resolve_table_references(statement) else { return Ok(()) };
    let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    let Some(schema) = schema else { return Ok(()) };
    let unknown = references.iter().find(|reference| {
        let is_here = reference.schema().is_none_or(|name| name == SCHEMA);
        let is_function = state.table_functions().contains_key(reference.table());
        is_here && !is_function && !schema.table_exist(reference.table())
    });
    unknown.map_or(Ok(()), |reference| {
        let (name, tables) = (reference.table().to_owned(), schema.table_names());
        Err(QueryError::NoSuchTable { name, tables })
    })
}

/// Returns `date_bin` with its `TimescaleDB` name as an alias.
fn time_bucket() -> ScalarUDF {
    date_bin().as_ref().clone().with_aliases(["time_bucket"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sql: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let folder = tempfile::tempdir().expect("room");
        let history = History::new(folder.path().to_owned(), None);
        let answer = runtime.expect("a runtime").block_on(history.query(sql, Limits::default()));
        answer.expect_err("the query is invalid").to_string()
    }

    #[test]
    fn errors_name_the_mistake_and_the_choices() {
        for (sql, expected) in [
            ("SELECT * FROM person", "table `person` not found: did you mean `persons`?"),
            ("SELECT * FROM nowhere", "expected one of activities, csi, events"),
            ("SELECT zne FROM persons", "column `zne` not found: did you mean `zone`?"),
            ("SELEKT 1", "syntax error: Expected: an SQL statement, found: SELEKT"),
            ("SELECT 'open", "syntax error: Unterminated string literal"),
            ("SELECT cont(1)", "function `cont` not found: did you mean `"),
            (
                "SELECT sum(zone) FROM persons",
                "function `sum` does not accept arguments of these types",
            ),
            ("SELECT time_bucket(5, captured_at) FROM poses", "as in (INTERVAL '5 minutes'"),
            ("SELECT zone, count(*) FROM persons", "column `persons.zone` must be in GROUP BY"),
            ("SELECT * FROM persons WHERE zone = kitchen", "column `kitchen` not found"),
            ("SELECT * FROM persons WHERE zone = kitchen", "text is in 'single quotes'"),
            ("SELECT sqrt(1, 2)", "sqrt"),
            ("DELETE FROM poses", "queries are read-only"),
            ("INSERT INTO poses VALUES (1)", "queries are read-only"),
            ("CREATE TABLE x AS SELECT 1", "queries are read-only"),
            ("SET a = 1", "queries are read-only"),
            ("COPY poses TO 'x'", "queries are read-only"),
            ("SELECT 1; SELECT 2", "expected one statement"),
            ("SELECT * FROM poses WHERE", "found: the end of the query"),
            ("SELECT zone + 1 FROM persons", "cannot calculate Utf8 + Int64"),
            ("SELECT persons.x FROM poses", "a list has no fields"),
        ] {
            let error = error(sql);
            assert!(error.contains(expected), "{sql}: {error}");
            for internal in ["type_coercion", "ParserError", "Error during planning", "fresnel."] {
                assert!(!error.contains(internal), "{sql}: {error}");
            }
        }
    }

    #[test]
    fn every_time_has_a_timestamp() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("room");
        let history = History::new(folder.path().to_owned(), None);
        for (table, columns) in [
            ("poses", "captured_at"),
            ("persons", "captured_at"),
            ("presence", "captured_at"),
            ("occupancy", "since"),
            ("activities", "starts_at, ends_at"),
            ("events", "occurred_at"),
        ] {
            let sql = format!("SELECT {columns} FROM {table}");
            let answer = runtime.block_on(history.query(&sql, Limits::default())).expect("columns");
            for field in answer.schema.fields() {
                assert_eq!(field.data_type().to_string(), "Timestamp(ns, \"UTC\")", "{table}");
            }
        }
        let sql =
            "SELECT time_bucket(INTERVAL '5 minutes', captured_at) AS at FROM persons GROUP BY at";
        runtime.block_on(history.query(sql, Limits::default())).expect("an alias of date_bin");
    }
}
