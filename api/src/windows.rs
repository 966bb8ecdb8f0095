//! Counts of requests in windows of time, by client.
//!
//! The window of a client begins with its first request. The memory is bounded: a client is its hash, and
//! of too many clients those whose windows end first are forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Windows of one length.
#[derive(Debug)]
pub(crate) struct Windows {
    length: Duration,
    /// The most clients whose requests are counted at once. Each takes up to 90 bytes.
    max_clients: usize,
    /// Two hashes with random keys: nobody can choose a name that is counted as another one.
    hashers: [RandomState; 2],
    clients: Mutex<HashMap<[u64; 2], Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    n_used: u32,
}

/// What a request has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// False if the request is one too many.
    pub(crate) is_allowed: bool,
    /// Requests that are left until the reset.
    pub(crate) n_left: u32,
    /// Time until the window ends.
    pub(crate) until_reset: Duration,
}

impl Windows {
    pub(crate) fn new(length: Duration, max_clients: usize) -> Self {
        Self { length, max_clients, hashers: Default::default(), clients: Mutex::default() }
    }

    /// Counts a request of a client, which has `limit` requests in a window.
    pub(crate) fn take(&self, client: &str, limit: u32) -> Used {
        let now = Instant::now();
        let mut clients = self.clients();
        let key = self.key(client);
        if clients.len() >= self.max_clients && !clients.contains_key(&key) {
            self.make_room(&mut clients, now);
        }
        let window = clients.entry(key).or_insert(Window { began: now, n_used: 0 });
        if now.duration_since(window.began) >= self.length {
            *window = Window { began: now, n_used: 0 };
        }
        let is_allowed = window.n_used < limit;
        window.n_used += u32::from(is_allowed);
        let until_reset = self.length.saturating_sub(now.duration_since(window.began));
        Used { is_allowed, n_left: limit - window.n_used.min(limit), until_reset }
    }

    /// Takes a request of a client back.
    pub(crate) fn give_back(&self, client: &str) {
        if let Some(window) = self.clients().get_mut(&self.key(client)) {
            window.n_used = window.n_used.saturating_sub(1);
        }
    }

    /// Forgets a client.
    pub(crate) fn forget(&self, client: &str) {
        self.clients().remove(&self.key(client));
    }

    /// Removes the windows that have ended; if all are open, the older half.
    fn make_room(&self, clients: &mut HashMap<[u64; 2], Window>, now: Instant) {
        clients.retain(|_, window| now.duration_since(window.began) < self.length);
        if clients.len() >= self.max_clients {
            let mut began: Vec<_> = clients.values().map(|window| window.began).collect();
            let (_, median, _) = began.select_nth_unstable(self.max_clients / 2);
            let median = *median;
            clients.retain(|_, window| window.began > median);
        }
    }

    fn key(&self, client: &str) -> [u64; 2] {
        [self.hashers[0].hash_one(client), self.hashers[1].hash_one(client)]
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<[u64; 2], Window>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const MAX_CLIENTS: usize = 1000;

    #[test]
    fn a_limit_is_exact_for_clients_in_parallel() {
        let windows = Windows::new(Duration::from_hours(1), MAX_CLIENTS);
        let n_allowed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    let used = (0..10).map(|_| windows.take("ann", 100));
                    let allowed = used.filter(|used| used.is_allowed).count();
                    n_allowed.fetch_add(u32::try_from(allowed).expect("few"), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(n_allowed.into_inner(), 100);
        assert_eq!(windows.take("bob", 100).n_left, 99);
    }

    #[test]
    fn a_window_ends() {
        let windows = Windows::new(Duration::ZERO, MAX_CLIENTS);
        assert!((0..3).all(|_| windows.take("ann", 1).is_allowed));
    }

    #[test]
    fn the_clients_are_bounded() {
        let windows = Windows::new(Duration::from_hours(1), MAX_CLIENTS);
        for n in 0..MAX_CLIENTS + 10 {
            windows.take(&n.to_string(), 1);
        }
        assert!(windows.clients().len() <= MAX_CLIENTS);
        assert!(!windows.take(&(MAX_CLIENTS + 9).to_string(), 1).is_allowed);
    }

    #[test]
    fn a_million_clients_have_a_bound() {
        let windows = Windows::new(Duration::from_hours(1), 1 << 20);
        for n in 0..1_200_000 {
            assert!(windows.take(&format!("{n:x}.example"), 1).is_allowed);
        }
        let n_places = windows.clients().capacity() * 8 / 7;
        let n_bytes = n_places * (size_of::<([u64; 2], Window)>() + 1);
        assert!(n_bytes <= 200_000_000, "{n_bytes} bytes");
    }
}
