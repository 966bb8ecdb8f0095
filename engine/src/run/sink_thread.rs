//! A sink's thread: writes closed ticks, commits on the sink's schedule, and retries failed calls.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::RecvTimeoutError;
use operators::timed;
use schemas::{Progress, Record, Tick};
use sinks::{Sink, SinkError};

use crate::dataflow::{SharedProgress, SinkQueue, TickReceiver, sink_queue};
use crate::fail_point;
use crate::run::control::Control;
use crate::run::retry::retry;
use crate::{Counters, RunError};

/// Maximum number of queued ticks; a full queue causes back-pressure on the sources.
const QUEUE_TICKS: usize = 256;
/// Maximum bytes of the ticks that are queued or being written, except for a single larger tick.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Time-out of the wait for a tick: a stop request is noticed within it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Starts the thread of a sink.
pub(super) fn spawn(
    name: &str,
    sink: Box<dyn Sink>,
    counters: &Arc<Counters>,
    control: &Arc<Control>,
) -> (SinkQueue, JoinHandle<()>) {
    let (ticks, queue) = sink_queue(QUEUE_TICKS, QUEUE_BYTES);
    let durable = SharedProgress::default();
    let keeps = sink.upper().is_some();
    let sink_queue = SinkQueue { ticks, keeps, durable: durable.clone() };
    let mut writer = Writer {
        name: name.to_owned(),
        sink,
        counters: Arc::clone(counters),
        control: Arc::clone(control),
        upper: 0,
        waiting_since: None,
        durable,
    };
    let thread = thread::spawn(move || {
        let written = writer.write_all(&queue);
        let progress = if written.is_ok() { Progress::Ended } else { Progress::Failed };
        if let Err(source) = written {
            let taken_over = source.is_taken_over();
            let error = RunError::Sink { name: writer.name.clone(), source };
            writer.control.fail(error, taken_over);
        }
        // Closes the queue before the wake-up: then the dataflow sees that a failed sink accepts no
        // more.
        drop(queue);
        writer.durable.set(progress);
    });
    (sink_queue, thread)
}

struct Writer {
    name: String,
    sink: Box<dyn Sink>,
    counters: Arc<Counters>,
    control: Arc<Control>,
    /// The sink has accepted everything before this tick.
    upper: Tick,
    /// The time at which the oldest uncommitted tick was accepted.
    waiting_since: Option<Instant>,
    durable: SharedProgress,
}

impl Writer {
    /// Writes until the queue is closed.
    #[expect(
        clippy::disallowed_methods,
        reason = "commits are paced by the clock, not their content"
    )]
    fn write_all(&mut self, queue: &TickReceiver) -> Result<(), SinkError> {
        loop {
            let patience = self.until_commit(Instant::now()).min(PATIENCE);
            let is_idle = match queue.recv_timeout(patience) {
                Ok(queued) => self.write(queued.tick, &queued.records).map(|()| false)?,
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            };
            // A run that stops ends with the last commit, however long the interval is.
            let is_last = is_idle && self.control.stopping() && self.waiting_since.is_some();
            if is_last || self.sink.full() || self.until_commit(Instant::now()).is_zero() {
                self.commit()?;
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "commits are paced by the clock, not their content"
    )]
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<(), SinkError> {
        let (sink, name, counters) = (&mut self.sink, &self.name, &self.counters);
        let write = || timed(|| sink.write(tick, records), |time| counters.busy(name, time));
        let n_accepted = retry(name, &self.control, write)?;
        self.counters.records(&self.name, n_accepted as u64);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(tick));
        self.counters.latency(&self.name, age, n_accepted as u64);
        self.count_rejected();
        self.upper = tick.saturating_add(1);
        self.waiting_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let (sink, upper) = (&mut self.sink, self.upper);
        let (name, counters) = (&self.name, &self.counters);
        let _span = tracing::info_span!("commit", sink = name, upper).entered();
        fail_point::pass("before commit", name);
        let commit = || timed(|| sink.commit(upper), |time| counters.busy(name, time));
        retry(name, &self.control, commit)?;
        fail_point::pass("after commit", &self.name);
        self.count_rejected();
        self.waiting_since = None;
        self.durable.set(upper.into());
        Ok(())
    }

    fn count_rejected(&mut self) {
        for (reason, n_records) in self.sink.take_rejected() {
            tracing::debug!(sink = self.name, reason, n_records, "rejected records");
            self.counters.dropped(&self.name, reason, n_records);
        }
    }

    /// Time until the next commit.
    fn until_commit(&self, now: Instant) -> Duration {
        self.waiting_since.map_or(PATIENCE, |since| {
            self.sink.commit_interval().saturating_sub(now.saturating_duration_since(since))
        })
    }
}
