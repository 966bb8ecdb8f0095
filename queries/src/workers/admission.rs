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

/// Admits queries.
#[derive(Debug)]
pub(super) struct Admission {
    running: Arc<Semaphore>,
    /// The clients whose queries run or wait.
    clients: Mutex<HashMap<String, Arc<Semaphore>>>,
    n_waiting: AtomicUsize,
}

/// The right to run one query.
#[derive(Debug)]
pub(super) struct Place<'a> {
    admission: &'a Admission,
    client: &'a str,
    /// Of the client and of all; none while it waits.
    permits: Option<[OwnedSemaphorePermit; 2]>,
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
        let of_client = Arc::clone(
            self.clients()
                .entry(client.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(MAX_OF_CLIENT))),
        );
        let mut place = Place { admission: self, client, permits: None };
        if let Ok(of_client) = Arc::clone(&of_client).try_acquire_owned()
            && let Ok(of_all) = Arc::clone(&self.running).try_acquire_owned()
        {
            place.permits = Some([of_client, of_all]);
            return Ok(place);
        }
        let waiting = Waiting::start(&self.n_waiting)?;
        let permits = async {
            let of_client = of_client.acquire_owned().await.ok()?;
            Some([of_client, Arc::clone(&self.running).acquire_owned().await.ok()?])
        };
        place.permits = timeout(limit, permits).await.map_err(|_| QueryError::Busy)?;
        drop(waiting);
        Ok(place)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut clients = self.admission.clients();
        self.permits = None;
        // The table and nobody else.
        if clients.get(self.client).is_some_and(|it| Arc::strong_count(it) == 1) {
            clients.remove(self.client);
        }
    }
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
        assert!(admission.clients().is_empty(), "clients are forgotten");
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
        let first = [admission.admit("a", SOON).await, admission.admit("a", SOON).await];
        let waiting = (0..MAX_WAITING).map(|_| admission.admit("a", LATER));
        let waiting = futures::future::join_all(waiting);
        let refused = async {
            while admission.counts().1 < MAX_WAITING {
                tokio::task::yield_now().await;
            }
            let refused = admission.admit("a", LATER).await.err();
            drop(first);
            refused
        };
        let drained = async { waiting.await.into_iter().map(drop).count() };
        // Each place is kept until all have one, so only two of those that wait get one.
        let (refused, drained) = tokio::join!(refused, timeout(SOON, drained));
        assert_eq!(refused, Some(QueryError::Busy));
        assert!(drained.is_err());
    }
}
