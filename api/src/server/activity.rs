//! Turns on a connection: the server limits the time of each turn of the client.
//!
//! HTTP/1 and HTTP/2, headers, bodies and responses look alike here: either the server works on a request, or
//! it waits for the client. One time limit covers a client that sends nothing, sends half of a header or half
//! of a preface, does not read, or has finished and stays connected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::server::timeouts::Timeouts;

/// The activity on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    eviction: Notify,
    /// True after the upgrade of the connection from HTTP to a WebSocket.
    has_changed_protocol: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// True after the first request has arrived.
    started: bool,
    /// The socket accepts no more bytes, because the client does not read.
    blocked: bool,
    /// Requests whose body is being received; a body has a time limit of its own.
    n_receiving: usize,
    /// Requests that the server works on.
    n_working: usize,
    /// Start of the client's turn, or the time at which it last read data.
    since: Instant,
}

/// The reason that the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Another connection needs its place.
    Evicted,
    /// The client exceeded a time limit.
    TimedOut,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let (started, blocked, n_receiving, n_working) = (false, false, 0, 0);
        let state = State { started, blocked, n_receiving, n_working, since: Instant::now() };
        let has_changed_protocol = AtomicBool::new(false);
        Self { state: Mutex::new(state), eviction: Notify::new(), has_changed_protocol }
    }

    /// Records that the connection changes to another protocol.
    pub(crate) fn change_protocol(&self) {
        self.has_changed_protocol.store(true, Ordering::Relaxed);
    }

    /// True once the connection has changed to another protocol.
    pub(crate) fn has_changed_protocol(&self) -> bool {
        self.has_changed_protocol.load(Ordering::Relaxed)
    }

    /// Records that the body of a request is being received, as long as the guard lives.
    pub(crate) fn receiving(self: &Arc<Self>) -> Turn {
        self.turn(|state| &mut state.n_receiving)
    }

    /// Records that the server works on a request, as long as the guard lives.
    pub(crate) fn working(self: &Arc<Self>) -> Turn {
        self.turn(|state| &mut state.n_working)
    }

    fn turn(self: &Arc<Self>, counter: fn(&mut State) -> &mut usize) -> Turn {
        let mut state = self.lock();
        *counter(&mut state) += 1;
        state.started = true;
        state.since = Instant::now();
        Turn { activity: Arc::clone(self), counter }
    }

    /// Records a write: `blocked` if the socket accepted no bytes.
    pub(crate) fn wrote(&self, blocked: bool) {
        let mut state = self.lock();
        state.blocked = blocked;
        // Before the first request, the server writes only protocol messages, such as answers to HTTP/2
        // pings.
        if state.started && !blocked {
            state.since = Instant::now();
        }
    }

    /// Returns the time since which the server waits for the client, or `None` while it works.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.blocked || state.n_working == 0).then_some(state.since)
    }

    /// Requests the end of this connection, to make room for another one.
    pub(crate) fn evict(&self) {
        self.eviction.notify_one();
    }

    /// Waits until the connection must be closed, and returns the reason.
    pub(crate) async fn closing(&self, timeouts: &Timeouts) -> Closing {
        tokio::select! {
            () = self.eviction.notified() => Closing::Evicted,
            () = self.timed_out(timeouts) => Closing::TimedOut,
        }
    }

    async fn timed_out(&self, timeouts: &Timeouts) {
        loop {
            let (now, deadline) = (Instant::now(), self.deadline(timeouts));
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            // A turn of the client that begins during this sleep has its deadline after it.
            let again = now + timeouts.idle;
            sleep_until(deadline.map_or(again, |deadline| deadline.min(again))).await;
        }
    }

    /// Returns the deadline of the client's turn, or `None` if it is not the client's turn.
    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let state = self.lock();
        let limit = if state.started { timeouts.idle } else { timeouts.header };
        let busy = state.n_working + state.n_receiving > 0;
        (state.blocked || !busy).then(|| state.since + limit)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard of a request that is being received or processed.
#[derive(Debug)]
pub(crate) struct Turn {
    activity: Arc<Activity>,
    counter: fn(&mut State) -> &mut usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        *(self.counter)(&mut state) -= 1;
        state.since = Instant::now();
    }
}
