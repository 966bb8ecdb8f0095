//! A session: the tables of a history, and the rows that a query selects from them.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::common::config::Dialect;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use tokio::runtime::Runtime;

use crate::guard::{check_reads, check_size, read_only};
use crate::information::InformationSchema;
use crate::tables::HistorySchema;
use crate::{History, Query, QueryError};

/// Memory limit of the operators of one query.
pub(crate) const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Limit of what the operators of one query write to temporary files.
pub(crate) const SPILLED_BYTES: u64 = 1024 * 1024 * 1024;
/// Stack size of the query threads: planning recurses.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The names of the catalog and of the schema of the tables.
const CATALOG: &str = "fresnel";
const SCHEMA: &str = "history";
/// Number of threads for all queries, separate from the threads that ingest records.
const THREADS: usize = 2;
/// Number of threads that read files.
const READERS: usize = 4;

/// Queries have their own threads: a query that never yields delays only other queries.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).max_blocking_threads(READERS);
    let runtime = runtime.thread_stack_size(STACK_BYTES).enable_all();
    runtime.thread_name("query").build().expect("the system can start a few threads")
});

/// The tables of a history.
pub(crate) struct Session(SessionContext);

impl Session {
    /// The most threads of all sessions.
    pub(crate) const N_THREADS: usize = THREADS + READERS;

    pub(crate) fn new(history: &History) -> Result<Self, QueryError> {
        let config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_target_partitions(THREADS);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .with_max_temp_directory_size(SPILLED_BYTES)
            .build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let tables = || {
            let catalog = MemoryCatalogProvider::new();
            catalog.register_schema(SCHEMA, Arc::new(HistorySchema::new(history)))?;
            Ok::<_, QueryError>(catalog)
        };
        let catalog = tables()?;
        let information = InformationSchema::new(CATALOG, Arc::new(tables()?));
        catalog.register_schema("information_schema", Arc::new(information))?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        context.register_udf(time_bucket());
        Ok(Self(context))
    }

    /// Plans a query and returns its rows.
    pub(crate) async fn rows(&self, query: &Query) -> Result<Rows, QueryError> {
        check_size(&query.sql)?;
        if let Ok(statement) = self.0.state().sql_to_statement(&query.sql, &Dialect::Generic) {
            check_reads(&statement)?;
            check_tables(&self.0, &statement)?;
        }
        let mut frame = self.0.sql_with_options(&query.sql, read_only()).await?;
        if !query.parameters.is_empty() {
            frame = frame.with_param_values(&query.parameters)?;
        }
        let schema = Arc::clone(frame.schema().inner());
        let stream = frame.execute_stream().await?;
        Ok(Rows { schema, stream, limit: query.limits.rows, n_before: 0 })
    }
}

/// The rows of an answer, up to a limit.
pub(crate) struct Rows {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    limit: usize,
    n_before: usize,
}

impl Rows {
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Returns the next rows; an error if the answer has more rows than allowed.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match self.stream.next().await? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.into())),
        };
        self.n_before += batch.num_rows();
        let fits = self.n_before <= self.limit;
        Some(if fits { Ok(batch) } else { Err(QueryError::TooManyRows(self.limit)) })
    }
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
