//! A source's thread: polls it and queues what comes.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use schemas::Record;
use sources::{Partition, Poll, PollState, Source};
use timely::scheduling::SyncActivator;

use crate::dataflow::{Feed, FeedBatch};
use crate::run::control::Control;
use crate::{Counters, RunError};

/// Polls that are queued at most. When the queue is full, a source that can wait does; a live one
/// loses its oldest poll, counted.
const QUEUE_POLLS: usize = 32;
/// How soon a waiting source looks whether it is to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const TOO_SLOW: &str = "pipeline too slow";

/// Starts the thread of a source's partition.
pub(super) fn spawn(
    name: &str,
    partition: Partition,
    counters: &Arc<Counters>,
    control: &Arc<Control>,
) -> (Feed, JoinHandle<()>) {
    let (queue, batches) = crossbeam_channel::bounded(QUEUE_POLLS);
    let waker = Arc::new(OnceLock::new());
    let Partition { name: partition, source } = partition;
    let live = source.live();
    let feed = Feed { partition, batches: batches.clone(), live, waker: Arc::clone(&waker) };
    let (counters, control) = (Arc::clone(counters), Arc::clone(control));
    let mut reader = Reader { name: name.to_owned(), source, queue, waker, counters, control };
    let thread = thread::spawn(move || {
        let oldest = live.then_some(batches);
        reader.read(oldest.as_ref());
        let Reader { queue, waker, .. } = reader;
        // Closed before the dataflow looks again: so it sees the end.
        drop((queue, oldest));
        wake(&waker);
    });
    (feed, thread)
}

fn wake(waker: &OnceLock<SyncActivator>) {
    if let Some(waker) = waker.get() {
        // A dataflow that is gone needs no waking.
        let _ = waker.activate();
    }
}

struct Reader {
    name: String,
    source: Box<dyn Source>,
    queue: Sender<FeedBatch>,
    waker: Arc<OnceLock<SyncActivator>>,
    counters: Arc<Counters>,
    control: Arc<Control>,
}

impl Reader {
    /// Polls until the source ends, fails or is to stop. `oldest` is the queue's other end for a
    /// source that cannot wait.
    fn read(&mut self, oldest: Option<&Receiver<FeedBatch>>) {
        while !self.control.stopping() {
            let poll = match self.source.poll() {
                Ok(poll) => poll,
                Err(source) => {
                    let name = self.name.clone();
                    self.control.fail(RunError::Source { name, source }, false);
                    return;
                }
            };
            let ended = poll.state == PollState::End;
            self.count(&poll);
            let Poll { records, marks, clock, .. } = poll;
            let batch = FeedBatch { records, marks, clock, ended };
            match oldest {
                Some(oldest) => self.send_or_drop_oldest(batch, oldest),
                None => self.send(batch),
            }
            wake(&self.waker);
            if ended {
                return;
            }
        }
    }

    fn count(&self, poll: &Poll) {
        let n_records = count(&poll.records.iter().map(|(_, record)| record).collect::<Vec<_>>());
        self.counters.records(&self.name, n_records);
        self.counters.late(&self.name, poll.n_late);
        for dropped in &poll.dropped {
            tracing::debug!(
                source = self.name,
                offset = dropped.offset,
                reason = dropped.reason,
                "dropped a record"
            );
            self.counters.dropped(&self.name, dropped.reason, 1);
        }
    }

    /// Waits for room in the queue.
    fn send(&self, mut batch: FeedBatch) {
        while let Err(SendTimeoutError::Timeout(returned)) =
            self.queue.send_timeout(batch, LOOK_AGAIN)
        {
            if self.control.stopping() {
                return;
            }
            batch = returned;
        }
    }

    /// Makes room in the queue at the cost of its oldest records; their place in time is kept.
    fn send_or_drop_oldest(&self, mut batch: FeedBatch, oldest: &Receiver<FeedBatch>) {
        while let Err(TrySendError::Full(returned)) = self.queue.try_send(batch) {
            batch = returned;
            if let Ok(lost) = oldest.try_recv() {
                let n_lost =
                    count(&lost.records.iter().map(|(_, record)| record).collect::<Vec<_>>());
                self.counters.dropped(&self.name, TOO_SLOW, n_lost);
            }
        }
    }
}

/// Records, with each frame of CSI as one.
fn count(records: &[&Record]) -> u64 {
    let n_records = records.iter().map(|record| match record {
        Record::Csi(batch) => batch.len(),
        _ => 1,
    });
    n_records.sum::<usize>() as u64
}
