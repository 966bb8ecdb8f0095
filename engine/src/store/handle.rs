//! A handle of an open store. Its calls are async, for servers and for threads that block on them.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemas::{Progress, Tick};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, ConnectOptions, Row};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::store::checkpoints::{load_latest, stored};
use crate::store::generation::pipeline_row;
use crate::store::{AccountStore, Checkpoint, ItemStore, Listed, StoreError, TemplateStore};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Permissions of files that only their owner can read and write.
const PRIVATE: u32 = 0o600;
/// Time-out of opening and closing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle of a [`Store`](crate::Store). When the store is closed, every call through it fails.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    runtime: Arc<StoreRuntime>,
    pub(super) pool: AnyPool,
    /// A separate connection to a server: a heartbeat does not wait for a checkpoint. A file has a
    /// single connection: its writers take turns, and waits for a connection are fairer than waits for
    /// a lock.
    pub(super) leases: AnyPool,
}

/// Serves the connections until the last handle is dropped.
#[derive(Debug)]
struct StoreRuntime {
    handle: Handle,
    /// None once it is dropped.
    runtime: Option<Runtime>,
}

impl StoreRuntime {
    fn new() -> io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("store").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for StoreRuntime {
    /// Shuts the runtime down without waiting; the database finishes or rolls back open transactions.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl StoreHandle {
    /// Opens the database, with a runtime of its own that serves its connections.
    pub(super) fn open(directory: &Path, location: &str) -> Result<Self, sqlx::Error> {
        let runtime = Arc::new(StoreRuntime::new()?);
        let opening = Self::open_on(Arc::clone(&runtime), directory, location);
        runtime.handle.block_on(opening)
    }

    async fn open_on(
        runtime: Arc<StoreRuntime>,
        directory: &Path,
        location: &str,
    ) -> Result<Self, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let postgres = ["postgres://", "postgresql://"];
        let in_file = !postgres.iter().any(|scheme| location.starts_with(scheme));
        let url = if in_file {
            let path = directory.join(location);
            create_private(&path)?;
            file_url(&path)
        } else {
            location.to_owned()
        };
        let one = || AnyPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_TIMEOUT);
        let pool = one().connect(&url).await?;
        if in_file {
            // Readers do not wait for the writer, and a commit is one sync.
            sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
            sqlx::query("PRAGMA synchronous = FULL").execute(&pool).await?;
        }
        MIGRATIONS.run(&pool).await?;
        let leases = if in_file { pool.clone() } else { one().connect_lazy(&url)? };
        Ok(Self { runtime, pool, leases })
    }

    /// Blocks until a call is done. Must not be called on a thread of an async runtime.
    pub(crate) fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.handle.block_on(call)
    }

    /// Closes the connections: no write-ahead log is left beside a file.
    pub(super) async fn close(&self) {
        let closing = async {
            self.leases.close().await;
            self.pool.close().await;
        };
        // The time-out bounds the wait for an unreachable database.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, closing).await;
    }

    /// Returns access to the accounts.
    pub fn accounts(&self) -> AccountStore {
        AccountStore::new(self.clone())
    }

    /// Returns access to the templates.
    pub fn templates(&self) -> TemplateStore {
        TemplateStore::new(self.clone())
    }

    /// Returns access to the items of a pipeline.
    pub fn items(&self, pipeline: &str) -> ItemStore {
        ItemStore::new(self.clone(), pipeline.to_owned())
    }

    /// Runs a task beside the calls, until the last handle is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.handle.spawn(task);
    }

    /// Lists the checkpoints of all pipelines.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let names = "SELECT name FROM pipelines ORDER BY name";
        let names = sqlx::query(names).fetch_all(&self.pool).await?;
        let mut listed = Vec::new();
        for name in names {
            let stored = stored(&self.pool, &name.try_get::<String, _>(0)?).await?;
            listed.extend(stored.into_iter().map(|stored| stored.listed));
        }
        Ok(listed)
    }

    /// Loads the newest intact checkpoint of a pipeline, up to a tick.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or no checkpoint is intact any more.
    pub async fn inspect(
        &self,
        pipeline: &str,
        up_to: Option<Tick>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let Some(row) = pipeline_row(&self.pool, pipeline).await? else { return Ok(None) };
        load_latest(&self.pool, &row, up_to.map(Progress::Reached)).await
    }
}

/// Makes a file that only its owner can read: the store has keys that sign tokens.
fn create_private(path: &Path) -> io::Result<()> {
    let created = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            for ending in ["", "-wal", "-shm"] {
                let mut path = path.as_os_str().to_owned();
                path.push(ending);
                // A file of somebody else stays as its owner wants it.
                let _ = fs::set_permissions(path, Permissions::from_mode(PRIVATE));
            }
            Ok(())
        }
        created => created.map(drop),
    }
}

/// A `sqlite:` URL for a file.
fn file_url(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.to_url_lossy().to_string()
}
