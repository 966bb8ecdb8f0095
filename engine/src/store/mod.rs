//! The store: checkpoints of pipelines, in `SQLite` or Postgres.
//!
//! A checkpoint is one row: what changed since the one before it, or everything. So it is there as a
//! whole or not at all; its checksum tells what a disk did to it since. A run takes the next
//! generation of its pipeline, and only the newest generation can commit.

mod body;
mod checkpoints;
mod configuration;
mod error;
mod session;
mod silences;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use schemas::Tick;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, ConnectOptions, Row, Transaction};
use tokio::runtime::Runtime;

pub use crate::store::body::{ComponentState, State};
use crate::store::checkpoints::{load_latest, stored};
pub(crate) use crate::store::configuration::{ChangeLog, ZoneChange};
pub use crate::store::error::StoreError;
pub(crate) use crate::store::session::Session;

static MIGRATIONS: Migrator = sqlx::migrate!();

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A place for checkpoints.
#[derive(Debug)]
pub struct Store {
    runtime: Runtime,
    pool: AnyPool,
}

/// What a pipeline was when a checkpoint was made.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Everything before this tick is done with.
    pub tick: Tick,
    /// What each component remembers.
    pub state: State,
}

/// A checkpoint as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The pipeline.
    pub pipeline: String,
    /// Its tick.
    pub tick: Tick,
    /// The run that made it.
    pub generation: i64,
    /// When, in milliseconds since the Unix epoch.
    pub committed_at_ms: i64,
    /// True if it needs no other.
    pub whole: bool,
    /// Keys that changed.
    pub n_changes: i64,
    /// Its size.
    pub n_bytes: usize,
}

/// What the store knows of a pipeline.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    lineage: String,
    generation: i64,
    /// The tick of the newest checkpoint, if there is one.
    latest: Option<Tick>,
}

impl Store {
    /// Opens the database at `location`, a `postgres://` URL or a file, which is made if need be.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if it cannot be reached or is no store.
    pub fn open(directory: &Path, location: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let failed = |source: sqlx::Error| StoreError::open(location, source);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        let postgres = ["postgres://", "postgresql://"];
        let in_file = !postgres.iter().any(|scheme| location.starts_with(scheme));
        let url = if in_file { file_url(&directory.join(location)) } else { location.to_owned() };
        let pool = runtime.block_on(async {
            let options = AnyPoolOptions::new().max_connections(1);
            let pool = options.acquire_timeout(CONNECT_TIMEOUT).connect(&url).await?;
            if in_file {
                // Readers do not wait for the writer, and a commit is one sync.
                sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
                sqlx::query("PRAGMA synchronous = FULL").execute(&pool).await?;
            }
            MIGRATIONS.run(&pool).await?;
            Ok(pool)
        });
        Ok(Self { runtime, pool: pool.map_err(failed)? })
    }

    /// Begins a run: from now on, earlier runs of the pipeline cannot commit. With `fresh`, the
    /// pipeline starts anew. Gives what to start from.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if no checkpoint is whole any more.
    pub fn begin(
        self,
        pipeline: &str,
        retention: usize,
        fresh: bool,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let begin = async {
            let mut transaction = self.pool.begin().await?;
            let known = next_generation(&mut transaction, pipeline, fresh).await?;
            let loaded = load_latest(&mut *transaction, &known, None).await?;
            let latest = loaded.as_ref().map(|checkpoint| checkpoint.tick);
            // What is damaged and newer than what is started from must not be in the way.
            sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1 AND tick > $2")
                .bind(pipeline)
                .bind(latest.map_or(-1, to_sql))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok::<_, StoreError>((known, loaded))
        };
        let (known, loaded) = self.runtime.block_on(begin)?;
        let latest = loaded.as_ref().map(|checkpoint| checkpoint.tick);
        let session = Session::new(Arc::new(self), Known { latest, ..known }, retention);
        Ok((session, loaded))
    }

    /// Joins a run that another process has begun. Gives what it started from: it commits nothing
    /// before all its processes have joined.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if a newer run has begun; another one if the database fails.
    pub fn join(
        self,
        pipeline: &str,
        retention: usize,
        generation: i64,
    ) -> Result<(Session, Option<Checkpoint>), StoreError> {
        let join = async {
            let mut transaction = self.pool.begin().await?;
            let known = known(&mut *transaction, pipeline).await?;
            let fenced = || StoreError::Fenced { pipeline: pipeline.to_owned(), generation };
            let known = known.filter(|it| it.generation == generation).ok_or_else(fenced)?;
            let loaded = load_latest(&mut *transaction, &known, None).await?;
            Ok::<_, StoreError>((known, loaded))
        };
        let (known, loaded) = self.runtime.block_on(join)?;
        Ok((Session::new(Arc::new(self), known, retention), loaded))
    }

    /// The checkpoints of all pipelines.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        self.runtime.block_on(async {
            let names = "SELECT name FROM pipelines ORDER BY name";
            let names = sqlx::query(names).fetch_all(&self.pool).await?;
            let mut listed = Vec::new();
            for name in names {
                let stored = stored(&self.pool, &name.try_get::<String, _>(0)?).await?;
                listed.extend(stored.into_iter().map(|stored| stored.listed));
            }
            Ok(listed)
        })
    }

    /// The newest checkpoint of a pipeline that is intact, up to a tick.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or no checkpoint is intact any more.
    pub fn inspect(
        &self,
        pipeline: &str,
        up_to: Option<Tick>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.runtime.block_on(async {
            let Some(known) = known(&self.pool, pipeline).await? else { return Ok(None) };
            load_latest(&self.pool, &known, up_to).await
        })
    }
}

impl Drop for Store {
    /// Leaves one file, without a log beside it.
    fn drop(&mut self) {
        self.runtime.block_on(self.pool.close());
    }
}

/// A `sqlite:` URL for a file.
fn file_url(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.to_url_lossy().to_string()
}

/// Takes the next generation.
async fn next_generation(
    transaction: &mut Transaction<'_, Any>,
    pipeline: &str,
    fresh: bool,
) -> Result<Known, StoreError> {
    let lineage = new_lineage();
    sqlx::query(
        "INSERT INTO pipelines (name, lineage, generation, latest) VALUES ($1, $2, 1, -1)
         ON CONFLICT (name) DO UPDATE SET generation = pipelines.generation + 1",
    )
    .bind(pipeline)
    .bind(lineage.as_str())
    .execute(&mut **transaction)
    .await?;
    if fresh {
        let forget = "UPDATE pipelines SET lineage = $1, latest = -1 WHERE name = $2";
        let forget = sqlx::query(forget).bind(lineage.as_str()).bind(pipeline);
        forget.execute(&mut **transaction).await?;
        let delete = sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1").bind(pipeline);
        delete.execute(&mut **transaction).await?;
        let delete = sqlx::query("DELETE FROM silences WHERE pipeline = $1").bind(pipeline);
        delete.execute(&mut **transaction).await?;
    }
    let known = known(&mut **transaction, pipeline).await?;
    Ok(known.ok_or(sqlx::Error::RowNotFound)?)
}

async fn known<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    pipeline: &str,
) -> Result<Option<Known>, StoreError> {
    let row = sqlx::query("SELECT lineage, generation, latest FROM pipelines WHERE name = $1");
    let Some(row) = row.bind(pipeline).fetch_optional(executor).await? else { return Ok(None) };
    let latest: i64 = row.try_get(2)?;
    Ok(Some(Known {
        name: pipeline.to_owned(),
        lineage: row.try_get(0)?,
        generation: row.try_get(1)?,
        latest: (latest >= 0).then(|| from_sql(latest)),
    }))
}

/// A name that no other history has.
#[expect(clippy::disallowed_methods, reason = "a fresh start is told from others by its time")]
fn new_lineage() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since_epoch.as_nanos(), std::process::id())
}

/// Databases have signed numbers; the end of time is the largest.
fn to_sql(tick: Tick) -> i64 {
    i64::try_from(tick).unwrap_or(i64::MAX)
}

fn from_sql(tick: i64) -> Tick {
    if tick == i64::MAX { Tick::MAX } else { tick.unsigned_abs() }
}

#[cfg(test)]
mod tests;
