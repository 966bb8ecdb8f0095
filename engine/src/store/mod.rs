//! The store: checkpoints of pipelines, in `SQLite` or Postgres.
//!
//! A checkpoint is one row: what changed since the one before it, or everything. So it is there as a
//! whole or not at all; its checksum tells what a disk did to it since. A run takes the next
//! generation of its pipeline, and only the newest generation can commit.

mod body;
mod error;
mod silences;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use schemas::Tick;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, ConnectOptions, Row, Transaction};
use tokio::runtime::Runtime;

pub use crate::store::body::{ComponentState, State};
pub use crate::store::error::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// A checkpoint that adds to others is small; after so many, or when they are larger together than
/// what they add to, a whole one is made.
const MAX_DELTAS: usize = 256;
const MIN_WHOLE_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A place for checkpoints.
#[derive(Debug)]
pub struct Store {
    runtime: Runtime,
    pool: AnyPool,
}

/// A run's right to commit checkpoints of its pipeline.
#[derive(Debug)]
pub struct Session {
    store: Arc<Store>,
    known: Known,
    /// Checkpoints that older ones are kept behind.
    retention: usize,
    /// Bytes of the latest whole checkpoint, and of each that adds to it.
    whole_bytes: usize,
    delta_bytes: Vec<usize>,
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

/// A row of the table.
struct Stored {
    listed: Listed,
    base: Tick,
    body: Vec<u8>,
    checksum: i64,
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
        let session = Session {
            store: Arc::new(self),
            known: Known { latest, ..known },
            retention: retention.max(1),
            whole_bytes: 0,
            // The first checkpoint of a run is whole.
            delta_bytes: vec![0; MAX_DELTAS],
        };
        Ok((session, loaded))
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

impl Session {
    /// Names the pipeline's history of checkpoints.
    pub fn lineage(&self) -> &str {
        &self.known.lineage
    }

    /// This run's number among those of the pipeline.
    pub fn generation(&self) -> i64 {
        self.known.generation
    }

    /// Commits a checkpoint: all that changed since the one before, up to `tick`. Gives the ticks of
    /// the oldest checkpoint that is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if a newer run has begun; another one if the database fails. Nothing was
    /// committed then.
    #[expect(clippy::disallowed_methods, reason = "people want to know when")]
    pub fn commit(&mut self, tick: Tick, changes: &State) -> Result<Tick, StoreError> {
        let whole = self.known.latest.is_none()
            || self.delta_bytes.len() >= MAX_DELTAS
            || self.delta_bytes.iter().sum::<usize>() > self.whole_bytes.max(MIN_WHOLE_BYTES);
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let committed_at_ms = since_epoch.unwrap_or_default().as_millis() as i64;
        let commit = async {
            let mut transaction = self.store.pool.begin().await?;
            claim(&mut transaction, &self.known).await?;
            self.set_latest(&mut transaction, tick).await?;
            let n_changes = i64::try_from(changes.n_entries()).unwrap_or(i64::MAX);
            let (base, body) = if whole {
                let latest = load_latest(&mut *transaction, &self.known, None).await?;
                if latest.as_ref().map(|latest| latest.tick) != self.known.latest {
                    return Err(StoreError::Damaged { pipeline: self.known.name.clone() });
                }
                let mut state = latest.unwrap_or_default().state;
                state.apply(changes.clone());
                state.forget_removed();
                (tick, state.encode())
            } else {
                (self.known.latest.unwrap_or(tick), changes.encode())
            };
            let n_bytes = body.len();
            let listed = Listed {
                pipeline: self.known.name.clone(),
                tick,
                generation: self.known.generation,
                committed_at_ms,
                whole,
                n_changes,
                n_bytes,
            };
            let mut stored = Stored { listed, base, body, checksum: 0 };
            stored.checksum = stored.sum(&self.known.lineage);
            insert(&mut transaction, stored).await?;
            let oldest = self.trim(&mut transaction).await?;
            transaction.commit().await?;
            Ok((n_bytes, oldest))
        };
        let (n_bytes, oldest) = self.store.runtime.block_on(commit)?;
        self.known.latest = Some(tick);
        if whole {
            (self.whole_bytes, self.delta_bytes) = (n_bytes, Vec::new());
        } else {
            self.delta_bytes.push(n_bytes);
        }
        Ok(oldest)
    }

    /// Notes the checkpoint to come.
    async fn set_latest(
        &self,
        transaction: &mut Transaction<'_, Any>,
        tick: Tick,
    ) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE pipelines SET latest = $1 WHERE name = $2");
        let update = update.bind(to_sql(tick)).bind(self.known.name.as_str());
        update.execute(&mut **transaction).await?;
        Ok(())
    }

    /// Deletes what no checkpoint that is kept needs. Gives the oldest that is kept.
    async fn trim(&self, transaction: &mut Transaction<'_, Any>) -> Result<Tick, StoreError> {
        let rows = "SELECT tick, base FROM checkpoints WHERE pipeline = $1 ORDER BY tick DESC";
        let rows =
            sqlx::query(rows).bind(self.known.name.as_str()).fetch_all(&mut **transaction).await?;
        let ticks: Result<Vec<(i64, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        let ticks = ticks?;
        let oldest_kept =
            ticks.get(self.retention - 1).or(ticks.last()).map_or(0, |(tick, _)| *tick);
        let needed = ticks.iter().find(|(tick, base)| *tick <= oldest_kept && tick == base);
        if let Some((needed, _)) = needed {
            sqlx::query("DELETE FROM checkpoints WHERE pipeline = $1 AND tick < $2")
                .bind(self.known.name.as_str())
                .bind(*needed)
                .execute(&mut **transaction)
                .await?;
        }
        // A partition that stands beyond a checkpoint does not fall back behind it.
        sqlx::query("DELETE FROM silences WHERE pipeline = $1 AND clock < $2")
            .bind(self.known.name.as_str())
            .bind(oldest_kept)
            .execute(&mut **transaction)
            .await?;
        Ok(from_sql(oldest_kept))
    }
}

/// A `sqlite:` URL for a file.
fn file_url(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.to_url_lossy().to_string()
}

/// Makes sure that this is still the pipeline's newest run; locks out others until the transaction
/// is over.
async fn claim(transaction: &mut Transaction<'_, Any>, known: &Known) -> Result<(), StoreError> {
    let claim = "UPDATE pipelines SET generation = $1 WHERE name = $2 AND generation = $1";
    let claim = sqlx::query(claim).bind(known.generation).bind(known.name.as_str());
    if claim.execute(&mut **transaction).await?.rows_affected() == 1 {
        return Ok(());
    }
    let Known { name: pipeline, generation, .. } = known.clone();
    Err(StoreError::Fenced { pipeline, generation })
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

/// All checkpoints of a pipeline, the oldest first.
async fn stored<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    pipeline: &str,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query(
        "SELECT tick, base, generation, committed_at_ms, n_changes, body, checksum
         FROM checkpoints WHERE pipeline = $1 ORDER BY tick",
    )
    .bind(pipeline)
    .fetch_all(executor)
    .await?;
    let rows = rows.iter().map(|row| Stored::read(pipeline, row));
    Ok(rows.collect::<Result<_, sqlx::Error>>()?)
}

async fn insert(transaction: &mut Transaction<'_, Any>, stored: Stored) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO checkpoints
         (pipeline, tick, base, generation, committed_at_ms, n_changes, body, checksum)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(stored.listed.pipeline)
    .bind(to_sql(stored.listed.tick))
    .bind(to_sql(stored.base))
    .bind(stored.listed.generation)
    .bind(stored.listed.committed_at_ms)
    .bind(stored.listed.n_changes)
    .bind(stored.body)
    .bind(stored.checksum)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Stored {
    fn read(pipeline: &str, row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (tick, base) = (row.try_get(0)?, row.try_get(1)?);
        let body: Vec<u8> = row.try_get(5)?;
        let listed = Listed {
            pipeline: pipeline.to_owned(),
            tick: from_sql(tick),
            generation: row.try_get(2)?,
            committed_at_ms: row.try_get(3)?,
            whole: tick == base,
            n_changes: row.try_get(4)?,
            n_bytes: body.len(),
        };
        Ok(Self { listed, base: from_sql(base), body, checksum: row.try_get(6)? })
    }

    /// The checksum of everything that matters.
    fn sum(&self, lineage: &str) -> i64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.listed.pipeline.as_bytes());
        hasher.update(lineage.as_bytes());
        for number in [self.listed.tick, self.base] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.body);
        hasher.finalize().into()
    }

    fn state(&self, lineage: &str) -> Option<State> {
        if self.checksum == self.sum(lineage) { State::decode(&self.body) } else { None }
    }
}

/// The newest checkpoint that is intact, up to a tick; none if there never was one.
async fn load_latest<'c>(
    executor: impl sqlx::Executor<'c, Database = Any>,
    known: &Known,
    up_to: Option<Tick>,
) -> Result<Option<Checkpoint>, StoreError> {
    let stored = stored(executor, &known.name).await?;
    let by_tick: BTreeMap<Tick, &Stored> =
        stored.iter().map(|stored| (stored.listed.tick, stored)).collect();
    let wanted = |tick: &Tick| up_to.is_none_or(|up_to| *tick <= up_to);
    for tick in by_tick.keys().rev().copied().filter(wanted) {
        if let Some(state) = load(tick, &by_tick, &known.lineage) {
            return Ok(Some(Checkpoint { tick, state }));
        }
        tracing::warn!(tick, "a checkpoint is damaged, trying the one before");
    }
    let there_was = known.latest.is_some() || !by_tick.is_empty();
    if there_was && up_to.is_none() {
        return Err(StoreError::Damaged { pipeline: known.name.clone() });
    }
    Ok(None)
}

/// The state at a tick; none if anything of it is missing or damaged.
fn load(tick: Tick, by_tick: &BTreeMap<Tick, &Stored>, lineage: &str) -> Option<State> {
    let mut chain = Vec::new();
    let mut next = tick;
    loop {
        let stored = by_tick.get(&next)?;
        chain.push(stored.state(lineage)?);
        if stored.base == next {
            break;
        }
        next = stored.base;
    }
    let mut state = State::default();
    chain.into_iter().rev().for_each(|changes| state.apply(changes));
    state.forget_removed();
    Some(state)
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
