//! A session: the tables of a history, and the rows that a query selects from them.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::CatalogProvider;
use datafusion::common::config::Dialect as ParserDialect;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use tokio::runtime::Runtime;

use crate::catalog::Catalog;
use crate::description::described;
use crate::guard::{check_casts, check_reads, check_size, read_only};
use crate::information::InformationSchema;
use crate::parameters::check_parameters;
use crate::postgres;
use crate::tables::HistorySchema;
use crate::{Dialect, History, Purpose, Query, QueryError};

/// Memory limit of the operators of one query.
pub(crate) const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Limit of what the operators of one query write to temporary files.
pub(crate) const SPILLED_BYTES: u64 = 1024 * 1024 * 1024;
/// Stack size of the query threads: planning recurses.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The name of the catalog of the tables.
const CATALOG: &str = "fresnel";
/// The function of tables that the planner knows.
const UNNEST: &str = "unnest";
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
pub(crate) struct Session {
    context: SessionContext,
    dialect: Dialect,
}

impl Session {
    /// The most threads of all sessions.
    pub(crate) const N_THREADS: usize = THREADS + READERS;

    pub(crate) async fn open(history: &History, dialect: Dialect) -> Result<Self, QueryError> {
        let config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, schema_of(dialect))
            .with_target_partitions(THREADS);
        let config = match dialect {
            Dialect::DataFusion => config,
            // Clients expect that `now()` has a time zone.
            Dialect::Postgres => config.set_str("datafusion.execution.time_zone", "UTC"),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .with_max_temp_directory_size(SPILLED_BYTES)
            .build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let schema = Arc::new(HistorySchema::of(history).await?);
        let tables = || {
            let catalog = Catalog::default();
            catalog.register_schema(schema_of(dialect), Arc::clone(&schema) as _)?;
            Ok::<_, QueryError>(catalog)
        };
        let catalog = tables()?;
        let information = InformationSchema::new(CATALOG, Arc::new(tables()?));
        catalog.register_schema("information_schema", Arc::new(information))?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        context.register_udf(time_bucket());
        if dialect == Dialect::Postgres {
            postgres::add_catalog(&context, CATALOG)?;
        }
        Ok(Self { context, dialect })
    }

    /// Plans a query and returns its rows.
    pub(crate) async fn rows(self, query: &Query) -> Result<Rows, QueryError> {
        check_size(&query.sql)?;
        let statement = self.parse(&query.sql)?;
        check_reads(&statement)?;
        check_tables(&self.context, &statement)?;
        if self.dialect == Dialect::Postgres {
            postgres::number_tables(&self.context, &statement).await?;
        }
        let plan = self.context.state().statement_to_plan(statement).await?;
        read_only().verify_plan(&plan)?;
        let limit = query.limits.rows;
        if query.purpose == Purpose::Description {
            return Ok(Rows::none(described(&plan)?, self));
        }
        let frame = self.frame(plan, query).await?;
        let schema = Arc::clone(frame.schema().inner());
        let stream = frame.execute_stream().await?;
        Ok(Rows { schema, stream, limit, n_before: 0, _session: self })
    }

    fn parse(&self, sql: &str) -> Result<Statement, QueryError> {
        match self.dialect {
            Dialect::DataFusion => {
                Ok(self.context.state().sql_to_statement(sql, &ParserDialect::Generic)?)
            }
            Dialect::Postgres => postgres::parse(sql),
        }
    }

    /// Returns a plan with the values of its parameters, ready to be run.
    async fn frame(&self, plan: LogicalPlan, query: &Query) -> Result<DataFrame, QueryError> {
        check_parameters(&plan, query)?;
        let mut frame = self.context.execute_logical_plan(plan).await?;
        if !query.parameters.is_empty() {
            frame = frame.with_param_values(&query.parameters)?;
        }
        check_casts(frame.logical_plan())?;
        Ok(frame)
    }
}

impl Drop for Session {
    /// Breaks a cycle: the catalog of `PostgreSQL` refers to the catalog that contains it.
    fn drop(&mut self) {
        if self.dialect == Dialect::Postgres {
            postgres::remove_catalog(&self.context, CATALOG);
        }
    }
}

/// Returns the name of the schema of the tables. Clients of `PostgreSQL` look into `public`.
fn schema_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::DataFusion => "history",
        Dialect::Postgres => "public",
    }
}

/// The rows of an answer, up to a limit.
pub(crate) struct Rows {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    limit: usize,
    n_before: usize,
    /// The catalog that the rows may come from.
    _session: Session,
}

impl Rows {
    /// No rows, with these columns.
    fn none(schema: SchemaRef, session: Session) -> Self {
        let stream = Box::pin(EmptyRecordBatchStream::new(Arc::clone(&schema)));
        Self { schema, stream, limit: 0, n_before: 0, _session: session }
    }

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
    let name = state.config_options().catalog.default_schema.clone();
    let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(&name));
    let Some(schema) = schema else { return Ok(()) };
    let unknown = references.iter().find(|reference| {
        let is_here = reference.schema().is_none_or(|of_table| of_table == name);
        let name_of_table = reference.table();
        let is_function =
            name_of_table == UNNEST || state.table_functions().contains_key(name_of_table);
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
