//! Which query may run: a few of each client and a few in all; the others wait, up to a limit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::QueryError;

/// Queries of one client that run at once.
const MAX_OF_CLIENT: usize = 2;
/// Queries that run at once.
const MAX_RUNNING: usize = 8;
/// Queries that wait.
const MAX_WAITING: usize = 16;
/// Queries of one client that wait.
const MAX_WAITING_OF_CLIENT: usize = 4;

/// Admits queries.
#[derive(Debug)]
pub(super) struct Admission {
    running: Arc<Semaphore>,
    /// The clients whose queries run or wait.
    clients: Mutex<HashMap<String, Client>>,
    n_waiting: AtomicUsize,
}

/// The queries of one client.
#[derive(Debug)]
struct Client {
    /// Those that run or wait.
    n_queries: usize,
    running: Arc<Semaphore>,
}

impl Default for Client {
    fn default() -> Self {
        Self { n_queries: 0, running: Arc::new(Semaphore::new(MAX_OF_CLIENT)) }
    }
}

/// The right to run one query.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Of the client and of all.
    _permits: [OwnedSemaphorePermit; 2],
    _entry: Entry<'a>,
}

impl Admission {
    pub(super) fn new() -> Self {
        let running = Arc::new(Semaphore::new(MAX_RUNNING));
        Self { running, clients: Mutex::default(), n_waiting: AtomicUsize::new(0) }
    }

    /// Returns the number of queries that run, and of those that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let n_running = MAX_RUNNING - self.running.available_permits();
        (n_running, self.n_waiting.load(Ordering::Relaxed))
    }

    /// Waits until a query of a client may run.
    ///
    /// # Errors
    ///
    /// [`QueryError::Busy`] if too many others wait, or if the query waited for longer than `limit`.
    pub(super) async fn admit<'a>(
        &'a self,
        client: &'a str,
        limit: Duration,
    ) -> Result<Place<'a>, QueryError> {
        let (entry, of_client) = Entry::new(&self.clients, client)?;
        if let Ok(of_client) = Arc::clone(&of_client).try_acquire_owned()
            && let Ok(of_all) = Arc::clone(&self.running).try_acquire_owned()
        {
            return Ok(Place { _permits: [of_client, of_all], _entry: entry });
        }
        let _waiting = Waiting::start(&self.n_waiting)?;
        let permits = async {
            let of_client = of_client.acquire_owned().await.ok()?;
            Some([of_client, Arc::clone(&self.running).acquire_owned().await.ok()?])
        };
        let permits = timeout(limit, permits).await.ok().flatten().ok_or(QueryError::Busy)?;
        Ok(Place { _permits: permits, _entry: entry })
    }
}

/// A query in the table of its client.
#[derive(Debug)]
struct Entry<'a> {
    clients: &'a Mutex<HashMap<String, Client>>,
    name: &'a str,
}

impl<'a> Entry<'a> {
    /// Also returns the places of the client.
    fn new(
        clients: &'a Mutex<HashMap<String, Client>>,
        name: &'a str,
    ) -> Result<(Self, Arc<Semaphore>), QueryError> {
        let mut table = lock(clients);
        let client = table.entry(name.to_owned()).or_default();
        if client.n_queries == MAX_OF_CLIENT + MAX_WAITING_OF_CLIENT {
            return Err(QueryError::Busy);
        }
        client.n_queries += 1;
        let running = Arc::clone(&client.running);
        drop(table);
        Ok((Self { clients, name }, running))
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut clients = lock(self.clients);
        let Some(client) = clients.get_mut(self.name) else { return };
        client.n_queries -= 1;
        if client.n_queries == 0 {
            clients.remove(self.name);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A query that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn start(n_waiting: &'a AtomicUsize) -> Result<Self, QueryError> {
        let waiting = Self(n_waiting);
        let n_before = n_waiting.fetch_add(1, Ordering::Relaxed);
        if n_before < MAX_WAITING { Ok(waiting) } else { Err(QueryError::Busy) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_client_has_two_places_of_eight() {
        let admission = Admission::new();
        let mut places = Vec::new();
        for client in ["a", "b", "c", "d"] {
            for _ in 0..MAX_OF_CLIENT {
                places.push(admission.admit(client, SOON).await.expect("a place"));
            }
            assert_eq!(admission.admit(client, SOON).await.err(), Some(QueryError::Busy));
        }
        assert_eq!(admission.counts(), (MAX_RUNNING, 0));
        assert_eq!(admission.admit("e", SOON).await.err(), Some(QueryError::Busy));
        places.remove(0);
        places.push(admission.admit("e", SOON).await.expect("a place"));
        places.clear();
        assert_eq!(admission.counts(), (0, 0));
        assert!(lock(&admission.clients).is_empty(), "clients are forgotten");
    }

    #[tokio::test]
    async fn a_query_that_waits_for_its_client_takes_no_place_of_others() {
        let admission = Admission::new();
        let places = [admission.admit("a", SOON).await, admission.admit("a", SOON).await];
        let waiting = std::pin::pin!(admission.admit("a", LATER));
        assert!(futures::poll!(waiting).is_pending());
        assert_eq!(admission.counts(), (2, 1));
        drop(places);
    }

    #[tokio::test]
    async fn the_queue_has_a_limit() {
        let admission = Admission::new();
        let clients = ["a", "b", "c", "d", "e"];
        let mut admitted: Vec<_> = clients
            .iter()
            .flat_map(|client| [client; MAX_OF_CLIENT + MAX_WAITING_OF_CLIENT])
            .map(|client| Box::pin(admission.admit(client, LATER)))
            .collect();
        let (mut places, mut n_refused) = (Vec::new(), 0);
        for admitted in &mut admitted {
            match futures::poll!(admitted) {
                Poll::Ready(Ok(place)) => places.push(place),
                Poll::Ready(Err(error)) => {
                    assert_eq!(error, QueryError::Busy);
                    n_refused += 1;
                }
                Poll::Pending => {}
            }
        }
        assert_eq!(admission.counts(), (MAX_RUNNING, MAX_WAITING));
        assert_eq!(n_refused, admitted.len() - MAX_RUNNING - MAX_WAITING);
        assert_eq!(admission.admit("a", LATER).await.err(), Some(QueryError::Busy));
        drop((admitted, places));
        assert_eq!(admission.counts(), (0, 0));
        assert!(lock(&admission.clients).is_empty(), "clients are forgotten");
    }
}
