//! Places for connections: their limit, the eviction of idle connections, and their metrics.
//!
//! A new connection always gets a place. When all are taken, the server closes the connection whose client it
//! has waited for longest. Clients that send nothing therefore cannot block others. Limits per address could
//! not do that: behind a proxy, all clients have one address.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::MetricKind::{Counter, Gauge};
use engine::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::server::activity::{Activity, Closing};

/// Limit of open connections, if half of the process's descriptors allow it.
const MAX_CONNECTIONS: usize = 8192;
/// Time to wait for an evicted connection to free its place, before another one is evicted.
const EVICTION_PAUSE: Duration = Duration::from_millis(100);

/// Requests that keep their connection until one side ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionKind {
    WebSocket,
    Tap,
}

/// The connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    n_places: usize,
    places: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    /// Open sessions by kind.
    n_sessions: [AtomicUsize; 2],
    /// HTTP connections in the order of their start.
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    n_opened: AtomicU64,
    n_evicted: AtomicU64,
    n_timed_out: AtomicU64,
    n_accept_errors: AtomicU64,
}

impl Connections {
    /// Limits the connections to half of `limit` descriptors; the other half is for the process's files.
    pub(crate) fn with_descriptors(limit: u64) -> Self {
        let half = usize::try_from(limit / 2).unwrap_or(MAX_CONNECTIONS);
        Self::new(half.clamp(1, MAX_CONNECTIONS))
    }

    pub(crate) fn new(n_places: usize) -> Self {
        // The rest is for requests that end by themselves.
        let max_sessions = n_places - n_places.div_ceil(4);
        Self {
            n_places,
            places: Arc::new(Semaphore::new(n_places)),
            sessions: Arc::new(Semaphore::new(max_sessions)),
            n_sessions: [const { AtomicUsize::new(0) }; 2],
            open: Mutex::default(),
            n_opened: AtomicU64::new(0),
            n_evicted: AtomicU64::new(0),
            n_timed_out: AtomicU64::new(0),
            n_accept_errors: AtomicU64::new(0),
        }
    }

    /// Returns a place for a connection. It waits only while the server works on requests of all other
    /// connections.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return place;
            }
            self.evict();
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(place)) = timeout(EVICTION_PAUSE, place).await {
                return place;
            }
        }
    }

    /// Closes the connection whose client the server has waited for longest.
    fn evict(&self) {
        let mut open = self.open();
        let waiting = open.iter().filter_map(|(id, it)| Some((it.waiting_since()?, *id)));
        let Some((_, id)) = waiting.min() else { return };
        if let Some(activity) = open.remove(&id) {
            activity.evict();
        }
    }

    /// Registers a connection that may be closed for another one, as long as the guard lives.
    pub(crate) fn register(self: &Arc<Self>, activity: &Arc<Activity>) -> Registration {
        let id = self.n_opened.fetch_add(1, Ordering::Relaxed);
        self.open().insert(id, Arc::clone(activity));
        Registration { connections: Arc::clone(self), id }
    }

    /// Begins a session, or returns `None` if there are too many.
    pub(crate) fn session(self: &Arc<Self>, kind: SessionKind) -> Option<Session> {
        let permit = Arc::clone(&self.sessions).try_acquire_owned().ok()?;
        self.n_sessions(kind).fetch_add(1, Ordering::Relaxed);
        Some(Session { connections: Arc::clone(self), kind, _permit: permit })
    }

    /// Counts a connection that the server closes.
    pub(crate) fn closed(&self, why: Closing) {
        let counter = match why {
            Closing::Evicted => &self.n_evicted,
            Closing::TimedOut => &self.n_timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that the system failed to accept.
    pub(crate) fn accept_failed(&self) {
        self.n_accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of open WebSockets.
    pub(crate) fn n_websockets(&self) -> usize {
        self.n_sessions(SessionKind::WebSocket).load(Ordering::Relaxed)
    }

    /// Adds the counts to metrics.
    pub(crate) fn write(&self, metrics: &mut Metrics) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let sessions = |kind| self.n_sessions(kind).load(Ordering::Relaxed) as f64;
        let n_connections = (self.n_places - self.places.available_permits()) as f64;
        let open = ("fresnel_api_connections", Gauge, "Open connections.");
        metrics.add(open, [(String::new(), n_connections)]);
        let kinds = [("websocket", SessionKind::WebSocket), ("tap", SessionKind::Tap)];
        let kinds = kinds.map(|(name, kind)| (format!("kind=\"{name}\""), sessions(kind)));
        metrics.add(("fresnel_api_sessions", Gauge, "Open WebSockets and taps."), kinds);
        let closed = [("evicted", &self.n_evicted), ("timed out", &self.n_timed_out)];
        let closed = closed.map(|(reason, n)| (format!("reason=\"{reason}\""), count(n)));
        let help = "Connections that the server closed, by reason.";
        metrics.add(("fresnel_api_closed_total", Counter, help), closed);
        let help = "Connections that the operating system failed to accept.";
        let failed = [(String::new(), count(&self.n_accept_errors))];
        metrics.add(("fresnel_api_accept_errors_total", Counter, help), failed);
    }

    fn n_sessions(&self, kind: SessionKind) -> &AtomicUsize {
        &self.n_sessions[kind as usize]
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard of a connection that may be closed for another one.
#[derive(Debug)]
pub(crate) struct Registration {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.open().remove(&self.id);
    }
}

/// A session that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    connections: Arc<Connections>,
    kind: SessionKind,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connections.n_sessions(self.kind).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_for_files() {
        for (limit, expected) in [
            (0, 1),
            (256, 128),
            (1024, 512),
            (1 << 20, MAX_CONNECTIONS),
            (u64::MAX, MAX_CONNECTIONS),
        ] {
            assert_eq!(Connections::with_descriptors(limit).n_places, expected, "{limit}");
        }
    }

    #[test]
    fn sessions_leave_room_for_requests() {
        let connections = Arc::new(Connections::new(8));
        let session = || connections.session(SessionKind::Tap);
        let mut sessions: Vec<_> = std::iter::from_fn(session).collect();
        assert_eq!(sessions.len(), 6);
        let mut metrics = Metrics::default();
        connections.write(&mut metrics);
        assert!(metrics.to_string().contains("fresnel_api_sessions{kind=\"tap\"} 6\n"));
        sessions.pop();
        assert!(session().is_some(), "there is room again");
    }

    #[test]
    fn who_is_waited_for_longest_makes_room() {
        let connections = Arc::new(Connections::new(3));
        let [first, second, third] = [(); 3].map(|()| Arc::new(Activity::new()));
        let _open = [&first, &second, &third].map(|activity| connections.register(activity));
        let _working = first.working();
        drop(second.working());
        let is_open =
            |it: &Arc<Activity>| connections.open().values().any(|other| Arc::ptr_eq(it, other));
        for left in [[true, true, false], [true, false, false], [true, false, false]] {
            connections.evict();
            assert_eq!([&first, &second, &third].map(is_open), left);
        }
    }
}
