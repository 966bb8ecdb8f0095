//! A source's threads: the reader polls the source and queues its records. The receiver stores messages
//! that cannot be requested again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{SendTimeoutError, Sender};
use rustix::time::{ClockId, clock_gettime};
use schemas::error_chain;
use sources::{Partition, Poll, PollState, Receiver, Source, SourceError};

use crate::dataflow::{SourceBatch, SourceQueue, Waker};
use crate::fail_point;
use crate::run::control::Control;
use crate::{Counters, Routers, RunError};

/// Maximum number of queued polls; when the queue is full, the source waits.
const QUEUE_POLLS: usize = 32;
/// The interval at which a waiting source checks for a stop request.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts during an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Shared by the threads of all sources.
#[derive(Clone, Debug)]
pub(super) struct SourceThreadContext {
    pub(super) counters: Arc<Counters>,
    pub(super) routers: Arc<Routers>,
    pub(super) control: Arc<Control>,
    /// Every retained checkpoint contains everything before this tick; set by the dataflow.
    pub(super) checkpointed_through: Arc<AtomicU64>,
    /// The highest clock of this process's partitions; set by the threads.
    pub(super) furthest: Arc<AtomicU64>,
    /// True if the pipeline has ended in an earlier run, so that sinks accept no more records.
    pub(super) has_ended: bool,
}

/// Starts the threads of a source's partition.
pub(super) fn spawn(
    name: &str,
    partition: Partition,
    context: &SourceThreadContext,
) -> (SourceQueue, Vec<JoinHandle<()>>) {
    let (queue, batches) = crossbeam_channel::bounded(QUEUE_POLLS);
    let waker = Waker::default();
    let Partition { source, receiver, .. } = partition;
    let source_queue = SourceQueue { batches, waker: waker.clone() };
    let receiver = receiver.map(|receiver| receive(name, receiver, context));
    let context = context.clone();
    let mut reader = Reader { name: name.to_owned(), source, queue, waker, context };
    let reader = thread::spawn(move || {
        reader.read();
        let Reader { queue, waker, .. } = reader;
        // Closes the queue before the wake-up: then the dataflow sees the end.
        drop(queue);
        waker.wake();
    });
    (source_queue, receiver.into_iter().chain([reader]).collect())
}

/// Starts the receiver of a quarantined partition, if it has one: its journal keeps the messages for a later
/// run.
pub(super) fn spawn_receiver(
    name: &str,
    partition: Partition,
    context: &SourceThreadContext,
) -> Option<JoinHandle<()>> {
    Some(receive(name, partition.receiver?, context))
}

/// Receives until the run stops.
fn receive(
    name: &str,
    mut receiver: Box<dyn Receiver>,
    context: &SourceThreadContext,
) -> JoinHandle<()> {
    let (name, control) = (name.to_owned(), Arc::clone(&context.control));
    thread::spawn(move || {
        while !control.stopping() {
            match wait_out(&name, &control, || receiver.receive()) {
                // An unreachable peer keeps its messages.
                Ok(()) | Err(SourceError::Away { .. }) => {}
                // Received messages that could not be stored are lost when the run stops.
                Err(source) => {
                    control.fail(RunError::Source { name: name.clone(), source }, false);
                }
            }
        }
    })
}

/// Retries a call with growing pauses during an outage, until the run stops.
fn wait_out<T>(
    name: &str,
    control: &Control,
    mut call: impl FnMut() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let mut pause = LOOK_AGAIN;
    loop {
        let error = match call() {
            Err(error) if error.is_outage() => error,
            result => {
                if pause > LOOK_AGAIN && result.is_ok() {
                    control.health().recovered(name);
                }
                return result;
            }
        };
        control.health().failed_once(name, &error, true);
        if control.stopping() {
            return Err(error);
        }
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Returns the processor time of this thread, without waits for a peer or a file.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The reason of drops of frames.
const DISABLED: &str = "router is disabled";

struct Reader {
    name: String,
    source: Box<dyn Source>,
    queue: Sender<SourceBatch>,
    waker: Waker,
    context: SourceThreadContext,
}

impl Reader {
    /// Reads until the source ends or fails, or the run stops.
    fn read(&mut self) {
        if let Err(source) = self.poll_all() {
            let name = self.name.clone();
            self.context.control.fail(RunError::Source { name, source }, false);
        }
    }

    fn poll_all(&mut self) -> Result<(), SourceError> {
        let (mut checkpointed_through, mut worked) = (0, cpu_time());
        while !self.context.control.stopping() {
            let Some(mut poll) = self.poll()? else { break };
            let worked_before = std::mem::replace(&mut worked, cpu_time());
            self.context.counters.busy(&self.name, worked.saturating_sub(worked_before));
            fail_point::pass("panic after poll", &self.name);
            fail_point::pass("after poll", &self.name);
            let ended = poll.state == PollState::End;
            self.count(&poll);
            self.drop_disabled(&mut poll);
            if self.context.has_ended && poll.n_records > 0 {
                let name = self.name.clone();
                self.context.control.fail(RunError::Ended { name }, false);
            }
            self.context.furthest.fetch_max(poll.clock, Ordering::Relaxed);
            let Poll { records, positions, clock, .. } = poll;
            self.send(SourceBatch { records, positions, clock, ended });
            self.waker.wake();
            if ended {
                break;
            }
            let now_checkpointed = self.context.checkpointed_through.load(Ordering::Acquire);
            if now_checkpointed > checkpointed_through {
                checkpointed_through = now_checkpointed;
                fail_point::pass("before trim", &self.name);
                let _span =
                    tracing::info_span!("trim", source = self.name, checkpointed_through).entered();
                // The next checkpoint trims the rest.
                if let Err(error) = self.source.checkpointed_through(checkpointed_through) {
                    tracing::warn!("{}: {}", self.name, error_chain(&error));
                }
                fail_point::pass("after trim", &self.name);
            }
        }
        Ok(())
    }

    /// Polls the source, with retries during an outage. None if the run stops.
    fn poll(&mut self) -> Result<Option<Poll>, SourceError> {
        let control = Arc::clone(&self.context.control);
        let source = &mut self.source;
        match wait_out(&self.name, &control, || source.poll()) {
            // The next run reads the records that this poll did not return.
            Err(error) if error.is_outage() => Ok(None),
            polled => polled.map(Some),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "people want to know when a device was heard")]
    fn count(&self, poll: &Poll) {
        let SourceThreadContext { counters, routers, .. } = &self.context;
        let records = poll.records.iter().map(|(_, record)| record);
        routers.heard(&self.name, records, SystemTime::now());
        counters.records(&self.name, poll.n_records);
        counters.late(&self.name, poll.n_late);
        for dropped in &poll.dropped {
            tracing::debug!(
                source = self.name,
                offset = dropped.offset,
                reason = dropped.reason,
                "dropped a record"
            );
            counters.dropped(&self.name, dropped.reason, dropped.n_records);
        }
    }

    /// Drops the frames of devices that are disabled.
    fn drop_disabled(&self, poll: &mut Poll) {
        let n_frames = self.context.routers.retain_enabled(&mut poll.records);
        if n_frames > 0 {
            self.context.counters.dropped(&self.name, DISABLED, n_frames);
        }
    }

    /// Sends a batch; waits while the queue is full, until the run stops.
    fn send(&self, mut batch: SourceBatch) {
        while let Err(SendTimeoutError::Timeout(returned)) =
            self.queue.send_timeout(batch, LOOK_AGAIN)
        {
            if self.context.control.stopping() {
                return;
            }
            batch = returned;
        }
    }
}
