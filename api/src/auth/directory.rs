//! The accounts of the store, as the server knows them.
//!
//! Requests do not wait for the database, which also stores checkpoints: they use accounts that are at most
//! a second old. A key or session that is unknown may be new, so its request waits for newer accounts, which
//! are loaded ten times a second at most.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::{AccountStore, StoreError};
use identity::{Accounts, CredentialError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::RequestError;

/// The age of accounts from which they are loaded again.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Time between two loads.
const PAUSE: Duration = Duration::from_millis(100);
/// The age of accounts beyond which nobody is let in: the store may have revoked anything since.
const MAX_AGE_IN_OUTAGE: Duration = Duration::from_secs(30);
/// How long the first request after `MAX_AGE` waits for the store.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The accounts, with the time when they were loaded.
#[derive(Debug)]
pub(crate) struct Directory {
    store: AccountStore,
    loaded: RwLock<Option<(Arc<Accounts>, Instant)>>,
    /// The start of the last load that succeeded, or the end of one that failed. Only one request loads at a
    /// time.
    tried: Mutex<Option<Instant>>,
}

impl Directory {
    pub(crate) fn new(store: AccountStore) -> Self {
        Self { store, loaded: RwLock::default(), tried: Mutex::default() }
    }

    pub(crate) fn store(&self) -> &AccountStore {
        &self.store
    }

    /// Finds something in the accounts; in newer ones if it is not there.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unavailable`] while the store does not answer; else the last error of `find`.
    pub(crate) async fn find<T>(
        &self,
        find: impl Fn(&Accounts) -> Result<T, CredentialError>,
    ) -> Result<T, RequestError> {
        match find(&*self.accounts().await?) {
            Err(CredentialError::Revoked) => Ok(find(&*self.newest().await?)?),
            found => Ok(found?),
        }
    }

    /// Returns accounts that are a second old at most; older ones while the store does not answer.
    pub(crate) async fn accounts(&self) -> Result<Arc<Accounts>, RequestError> {
        if let Some((accounts, _)) = self.younger_than(MAX_AGE) {
            return Ok(accounts);
        }
        let mut tried = self.tried.lock().await;
        // Another request may have loaded them meanwhile.
        if self.younger_than(MAX_AGE).is_none() {
            self.try_load(&mut tried).await;
        }
        self.known()
    }

    /// Returns accounts that were loaded after this call.
    pub(crate) async fn newest(&self) -> Result<Arc<Accounts>, RequestError> {
        let asked = Instant::now();
        let mut tried = self.tried.lock().await;
        if tried.is_none_or(|at| at < asked) {
            if let Some(at) = *tried {
                sleep_until(at + PAUSE).await;
            }
            self.try_load(&mut tried).await;
        }
        self.known()
    }

    /// Loads the accounts, after a change.
    pub(crate) async fn reload(&self) -> Result<(), StoreError> {
        let mut tried = self.tried.lock().await;
        *tried = Some(Instant::now());
        self.load().await
    }

    /// Returns the accounts that are known while the store does not answer, for a while.
    fn known(&self) -> Result<Arc<Accounts>, RequestError> {
        let known = self.younger_than(MAX_AGE_IN_OUTAGE);
        known.map(|(accounts, _)| accounts).ok_or(RequestError::Unavailable)
    }

    /// Returns the accounts if they are younger than this, with the time when they were loaded.
    fn younger_than(&self, age: Duration) -> Option<(Arc<Accounts>, Instant)> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.clone().filter(|(_, at)| at.elapsed() < age)
    }

    /// Tries to load the accounts; not again at once, so that requests do not wait for each other's attempts.
    async fn try_load(&self, tried: &mut Option<Instant>) {
        if tried.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        let started = Instant::now();
        *tried = match timeout(LOAD_TIMEOUT, self.load()).await {
            Ok(Ok(())) => Some(started),
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not load the accounts, trying again");
                Some(Instant::now())
            }
            Err(_) => Some(Instant::now()),
        };
    }

    async fn load(&self) -> Result<(), StoreError> {
        let at = Instant::now();
        let accounts = Arc::new(self.store.load().await?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some((accounts, at));
        Ok(())
    }
}
