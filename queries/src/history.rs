//! The history: asks its tables, with limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use schemas::{Record, Tick};
use tokio::runtime::Runtime;

use crate::QueryError;
use crate::guard::{check_size, read_only};
use crate::tables::HistorySchema;

/// Memory that one query may take.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Planning recurses, so its threads have room.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Threads for all queries, apart from those that take records in.
const THREADS: usize = 2;

/// Rows that are accepted but not in their table yet.
pub trait LiveTail: fmt::Debug + Send + Sync {
    /// The writer whose transaction version tells up to which tick a table holds everything.
    fn writer(&self) -> &str;

    /// The tables that have such rows.
    fn tables(&self) -> Vec<String>;

    /// The rows of a table with their ticks, some of which may be in it by now.
    fn rows(&self, table: &str) -> Vec<(Tick, Record)>;
}

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time from question to answer.
    pub timeout: Duration,
    /// Most rows of an answer.
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

/// A folder of tables, and what is about to be in them.
#[derive(Debug)]
pub struct History {
    schema: Arc<HistorySchema>,
}

/// Queries have threads of their own: one that never yields holds up other queries at most.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).thread_stack_size(STACK_BYTES).enable_all();
    runtime.thread_name("query").build().expect("the system can start a few threads")
});

impl History {
    /// The history in `folder`, which need not be there yet.
    pub fn new(folder: PathBuf, tail: Option<Arc<dyn LiveTail>>) -> Self {
        // Delta wants whole paths.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { schema: Arc::new(HistorySchema::new(folder, tail)) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.schema.folder()
    }

    /// Answers one read-only statement. Each query sees the newest rows.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if it is refused, makes no sense, or goes beyond a limit.
    pub async fn query(&self, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
        check_size(sql)?;
        let (context, sql) = (self.session()?, sql.to_owned());
        let answer = RUNTIME.spawn(async move {
            let answer = answer(&context, &sql, limits.rows);
            let answer = tokio::time::timeout(limits.timeout, answer).await;
            answer.map_err(|_| QueryError::TimedOut(limits.timeout))?
        });
        // The time-out inside needs a yield; the one outside does not.
        let answer = tokio::time::timeout(limits.timeout + Duration::from_secs(1), answer).await;
        let answer = answer.map_err(|_| QueryError::TimedOut(limits.timeout))?;
        answer.map_err(|_| QueryError::Interrupted)?
    }

    /// A session that sees the history and nothing else.
    fn session(&self) -> Result<SessionContext, QueryError> {
        let config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema("fresnel", "history")
            .with_information_schema(true)
            .with_target_partitions(THREADS);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("history", Arc::clone(&self.schema) as _)?;
        context.register_catalog("fresnel", Arc::new(catalog));
        Ok(context)
    }
}

async fn answer(
    context: &SessionContext,
    sql: &str,
    max_rows: usize,
) -> Result<Answer, QueryError> {
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
