//! Runs queries in processes of their own, so that a query cannot harm the server.
//!
//! A process has limits of memory, and is killed at the deadline of its query. A few processes are kept for
//! the next queries.

mod admission;
mod folder;
mod process;
mod spool;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::workers::admission::Admission;
use crate::workers::process::Process;
use crate::workers::spool::Unread;
use crate::{History, Query, QueryError};

pub use crate::workers::spool::{Batches, Spool};

/// Processes that wait for queries.
const MAX_IDLE: usize = 2;
/// This program, even after its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The processes that run queries.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    admission: Admission,
    idle: Mutex<Vec<Process>>,
    /// The queries that wait or run, by id.
    queries: Mutex<HashMap<String, Running>>,
    /// The answers that wait to be read.
    unread: Arc<Unread>,
}

/// A query that waits or runs.
#[derive(Clone, Debug)]
struct Running {
    client: String,
    cancelled: Arc<Notify>,
}

/// Removes the temporary files of the queries of servers that were killed.
pub fn remove_abandoned_files() {
    if let Err(error) = folder::remove_abandoned(&std::env::temp_dir()) {
        tracing::warn!(%error, "could not remove the temporary files of earlier queries");
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::of(PathBuf::from(THIS_PROGRAM))
    }
}

impl Workers {
    /// Creates workers that are processes of a program; by default of this one.
    pub fn of(program: PathBuf) -> Self {
        let (idle, queries, unread) = Default::default();
        Self { program, admission: Admission::new(), idle, queries, unread }
    }

    /// Answers a query of a client, under an id. Dropping the future ends the query.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the query is refused, is invalid, exceeds a limit, or is cancelled.
    pub async fn answer(
        &self,
        history: &Arc<History>,
        query: Query,
        id: &str,
        client: &str,
    ) -> Result<Spool, QueryError> {
        let entry = Entry::new(&self.queries, id, client)?;
        tokio::select! {
            answer = self.admitted(history, query, client) => answer,
            () = entry.cancelled.notified() => Err(QueryError::Cancelled),
        }
    }

    /// Cancels a query of a client. Returns false if the client has none of this id.
    pub fn cancel(&self, id: &str, client: &str) -> bool {
        let queries = lock(&self.queries);
        let query = queries.get(id).filter(|query| query.client == client);
        query.is_some_and(|query| {
            query.cancelled.notify_one();
            true
        })
    }

    /// Returns the number of queries that run, and of those that wait.
    pub fn counts(&self) -> (usize, usize) {
        self.admission.counts()
    }

    async fn admitted(
        &self,
        history: &Arc<History>,
        query: Query,
        client: &str,
    ) -> Result<Spool, QueryError> {
        let limit = query.limits.timeout;
        let deadline = Instant::now() + limit;
        let _place = self.admission.admit(client, limit).await?;
        let mut process = self.process()?;
        let spool = Spool::new(Arc::clone(&self.unread));
        let answer = timeout_at(deadline, process.answer(history, query, spool)).await;
        self.keep(process);
        answer.unwrap_or(Err(QueryError::TimedOut(limit)))
    }

    /// Returns a process that waits for a query.
    fn process(&self) -> Result<Process, QueryError> {
        while let Some(mut process) = self.idle().pop() {
            if process.is_idle() {
                return Ok(process);
            }
        }
        Process::start(&self.program).map_err(|error| QueryError::NoWorker(error.to_string()))
    }

    /// Keeps a process for later queries; ends it if it is in the middle of one, or if enough wait.
    fn keep(&self, mut process: Process) {
        let mut idle = self.idle();
        if process.is_idle() && idle.len() < MAX_IDLE {
            idle.push(process);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        lock(&self.idle)
    }
}

/// The entry of a query in the table, which ends with it.
struct Entry<'a> {
    queries: &'a Mutex<HashMap<String, Running>>,
    id: &'a str,
    cancelled: Arc<Notify>,
}

impl<'a> Entry<'a> {
    fn new(
        queries: &'a Mutex<HashMap<String, Running>>,
        id: &'a str,
        client: &str,
    ) -> Result<Self, QueryError> {
        let cancelled = Arc::new(Notify::new());
        let running = Running { client: client.to_owned(), cancelled: Arc::clone(&cancelled) };
        let mut table = lock(queries);
        if table.contains_key(id) {
            return Err(QueryError::IdTaken(id.to_owned()));
        }
        table.insert(id.to_owned(), running);
        Ok(Self { queries, id, cancelled })
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(self.queries).remove(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
