//! Whose turn it is on a connection: a client has only so long for each of its turns.
//!
//! HTTP/1 and HTTP/2, headers, bodies and responses all look alike from here: either the server works
//! on something, or it waits for the client. One rule for the waiting covers a client that sends
//! nothing, half of a header or half of a preface, that does not read, or that is done and stays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::server::timeouts::Timeouts;

/// The activity on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    eviction: Notify,
}

#[derive(Debug)]
struct State {
    /// A request has come.
    started: bool,
    /// The socket takes no more bytes, because the client reads none.
    blocked: bool,
    /// Requests whose body is on its way; it has a limit of its own.
    n_receiving: usize,
    /// Requests that the server works on.
    n_working: usize,
    /// When the client's turn began, or when it last read something.
    since: Instant,
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Another connection needs its place.
    Evicted,
    /// The client took too long.
    TimedOut,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let (started, blocked, n_receiving, n_working) = (false, false, 0, 0);
        let state = State { started, blocked, n_receiving, n_working, since: Instant::now() };
        Self { state: Mutex::new(state), eviction: Notify::new() }
    }

    /// The body of a request is on its way, as long as the guard lives.
    pub(crate) fn receiving(self: &Arc<Self>) -> Turn {
        self.turn(|state| &mut state.n_receiving)
    }

    /// The server works on a request, as long as the guard lives.
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

    /// The socket took some bytes, or none.
    pub(crate) fn wrote(&self, blocked: bool) {
        let mut state = self.lock();
        state.blocked = blocked;
        // Before the first request there is only the protocol itself, such as answers to HTTP/2 pings.
        if state.started && !blocked {
            state.since = Instant::now();
        }
    }

    /// Since when the server waits for the client; none while it works.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.blocked || state.n_working == 0).then_some(state.since)
    }

    /// Makes room for another connection.
    pub(crate) fn evict(&self) {
        self.eviction.notify_one();
    }

    /// Waits until the connection is to be closed.
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
            // A turn of the client that begins meanwhile lasts longer than this.
            let again = now + timeouts.idle;
            sleep_until(deadline.map_or(again, |deadline| deadline.min(again))).await;
        }
    }

    /// By when the client must have done something; none while it is not its turn.
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

/// Something that is under way on a connection.
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
