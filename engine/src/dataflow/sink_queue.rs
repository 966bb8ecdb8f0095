//! The queue of a sink: closed ticks on their way to its thread, bounded by their number and by the
//! bytes of their records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use schemas::{Record, Tick};

/// A closed tick and its records, in order. It counts towards the queue's limit of bytes until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct QueuedTick {
    pub(crate) tick: Tick,
    pub(crate) records: Vec<Record>,
    n_bytes: usize,
    state: Arc<State>,
}

impl Drop for QueuedTick {
    fn drop(&mut self) {
        self.state.queued_bytes.fetch_sub(self.n_bytes, Ordering::AcqRel);
    }
}

/// Shared by both ends.
#[derive(Debug, Default)]
struct State {
    queued_bytes: AtomicUsize,
    /// True when the thread accepts no more ticks.
    closed: AtomicBool,
}

/// The dataflow's end of the queue; the only sender.
#[derive(Debug)]
pub(crate) struct TickSender {
    ticks: Sender<QueuedTick>,
    max_bytes: usize,
    state: Arc<State>,
}

/// The thread's end of the queue. Dropping it closes the queue.
#[derive(Debug)]
pub(crate) struct TickReceiver {
    ticks: Receiver<QueuedTick>,
    state: Arc<State>,
}

/// The reason that a tick was not queued.
#[derive(Debug, PartialEq)]
pub(crate) enum NotQueued {
    /// The queue is full; contains the tick's records.
    Full(Vec<Record>),
    /// The thread accepts no more ticks.
    Closed,
}

/// Creates a queue of at most `max_ticks` ticks and `max_bytes` bytes. An empty queue accepts a tick of
/// any size.
pub(crate) fn sink_queue(max_ticks: usize, max_bytes: usize) -> (TickSender, TickReceiver) {
    let (sender, receiver) = crossbeam_channel::bounded(max_ticks);
    let state = Arc::<State>::default();
    let sender = TickSender { ticks: sender, max_bytes, state: Arc::clone(&state) };
    (sender, TickReceiver { ticks: receiver, state })
}

impl TickSender {
    /// Queues a tick if there is room.
    pub(crate) fn try_send(&self, tick: Tick, records: Vec<Record>) -> Result<(), NotQueued> {
        // A closed queue keeps its ticks, so that it would stay full.
        if self.state.closed.load(Ordering::Acquire) {
            return Err(NotQueued::Closed);
        }
        let n_bytes = records.iter().map(Record::size_bytes).sum::<usize>();
        // Only this end adds bytes.
        let queued_bytes = self.state.queued_bytes.load(Ordering::Acquire);
        if queued_bytes > 0 && queued_bytes.saturating_add(n_bytes) > self.max_bytes {
            return Err(NotQueued::Full(records));
        }
        self.state.queued_bytes.fetch_add(n_bytes, Ordering::AcqRel);
        let state = Arc::clone(&self.state);
        match self.ticks.try_send(QueuedTick { tick, records, n_bytes, state }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(mut tick)) => {
                Err(NotQueued::Full(std::mem::take(&mut tick.records)))
            }
            Err(TrySendError::Disconnected(_)) => Err(NotQueued::Closed),
        }
    }

    /// The number of queued ticks.
    pub(crate) fn n_ticks(&self) -> usize {
        self.ticks.len()
    }
}

impl TickReceiver {
    /// Waits for the next tick.
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<QueuedTick, RecvTimeoutError> {
        self.ticks.recv_timeout(timeout)
    }
}

impl Drop for TickReceiver {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use schemas::Presence;

    use super::*;

    fn records(n_bytes: usize) -> Vec<Record> {
        let link = "x".repeat(n_bytes);
        vec![Record::Presence(Presence { link, ..Presence::default() })]
    }

    fn next(queue: &TickReceiver) -> QueuedTick {
        queue.recv_timeout(Duration::ZERO).expect("it is queued")
    }

    #[test]
    fn bytes_bound_the_queue() {
        let (sender, queue) = sink_queue(100, 10_000);
        assert_eq!(sender.try_send(1, records(20_000)), Ok(()), "one tick always has room");
        assert_eq!(sender.try_send(2, records(10)), Err(NotQueued::Full(records(10))));
        let first = next(&queue);
        assert_eq!((first.tick, &first.records), (1, &records(20_000)));
        assert!(sender.try_send(2, records(10)).is_err(), "it is still being written");
        drop(first);
        assert_eq!(sender.try_send(2, records(4000)), Ok(()));
        assert_eq!(sender.try_send(3, records(4000)), Ok(()));
        assert_eq!(sender.try_send(4, records(4000)), Err(NotQueued::Full(records(4000))));
        assert_eq!(sender.n_ticks(), 2);
        assert_eq!([next(&queue).tick, next(&queue).tick], [2, 3]);
        assert_eq!(sender.state.queued_bytes.load(Ordering::Acquire), 0, "all is given back");
    }

    #[test]
    fn their_number_bounds_the_queue_too() {
        let (sender, queue) = sink_queue(1, 10_000);
        assert_eq!(sender.try_send(1, records(10)), Ok(()));
        assert_eq!(sender.try_send(2, records(10)), Err(NotQueued::Full(records(10))));
        drop(next(&queue));
        assert_eq!(sender.try_send(2, records(10)), Ok(()));
    }

    #[test]
    fn a_full_queue_that_is_closed_says_so() {
        let (sender, queue) = sink_queue(100, 10_000);
        assert_eq!(sender.try_send(1, records(20_000)), Ok(()));
        drop(queue);
        assert_eq!(sender.try_send(2, records(10)), Err(NotQueued::Closed));
    }
}
