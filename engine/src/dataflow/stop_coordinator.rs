//! Stops the sources of a run together, before their end. Records that all sources have passed become
//! durable; records that only some have passed are left to the next run.
//!
//! Workers exchange notices in a small dataflow beside the pipeline's. No worker drops its capabilities until
//! all workers know the stop point, because a frontier cannot distinguish a stop from the end of input.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use operators::StopPoint;
use schemas::Progress;
use serde::{Deserialize, Serialize};
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::vec::{Broadcast, Input};
use timely::worker::Worker;

/// A message from one worker to all workers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Notice {
    /// The number of the worker's source queues.
    Queues(usize),
    /// The run is to stop.
    Stop,
    /// One of the worker's source queues waits, with its progress.
    Waits(Progress),
    /// The worker knows the stop point.
    Ready,
}

/// The notices received so far.
#[derive(Debug, Default)]
struct Received {
    n_workers: usize,
    n_queues: usize,
    stop: bool,
    waiting: Vec<Progress>,
    n_ready: usize,
}

/// A worker's part of the coordination.
pub(crate) struct StopCoordinator {
    n_workers: usize,
    stop_point: StopPoint,
    input: RefCell<Option<InputHandleVec<(), Notice>>>,
    to_send: RefCell<Vec<Notice>>,
    sent_stop: Cell<bool>,
    sent_ready: Cell<bool>,
    received: Rc<RefCell<Received>>,
}

impl StopCoordinator {
    /// Creates the part of a worker with `n_queues` source queues. `stop_point` is set when the queues
    /// of all workers wait.
    pub(super) fn new(worker: &mut Worker, n_queues: usize, stop_point: StopPoint) -> Self {
        let received = Rc::<RefCell<Received>>::default();
        let receives = Rc::clone(&received);
        let input = worker.dataflow_named("StopCoordinator", |scope| {
            let (input, notices) = scope.new_input();
            notices.broadcast().inspect(move |notice| receives.borrow_mut().receive(*notice));
            input
        });
        Self {
            n_workers: worker.peers(),
            stop_point,
            input: RefCell::new(Some(input)),
            to_send: RefCell::new(vec![Notice::Queues(n_queues)]),
            sent_stop: Cell::default(),
            sent_ready: Cell::default(),
            received,
        }
    }

    /// Reports that a source queue waits, with its progress; called once for each queue.
    pub(super) fn report(&self, progress: Progress) {
        self.to_send.borrow_mut().push(Notice::Waits(progress));
    }

    /// Returns the progress of the slowest source queue, once all queues wait and every worker knows
    /// the stop point.
    pub(super) fn slowest(&self) -> Option<Progress> {
        let received = self.received.borrow();
        received.slowest(self.n_workers).filter(|_| received.n_ready == self.n_workers)
    }

    /// Sends and applies notices; called between steps. Sets `stop` when another process was asked to
    /// stop.
    pub(crate) fn update(&self, stop: &AtomicBool) {
        let received = self.received.borrow();
        if received.stop {
            stop.store(true, Ordering::Relaxed);
        }
        let mut to_send = self.to_send.borrow_mut();
        if stop.load(Ordering::Relaxed) && !self.sent_stop.replace(true) {
            to_send.push(Notice::Stop);
        }
        if let Some(slowest) =
            received.slowest(self.n_workers).filter(|_| !self.sent_ready.replace(true))
        {
            if let Progress::Reached(tick) = slowest {
                self.stop_point.set(tick);
            }
            to_send.push(Notice::Ready);
        }
        if let Some(input) = self.input.borrow_mut().as_mut().filter(|_| !to_send.is_empty()) {
            input.send_batch(&mut to_send);
            input.flush();
        }
    }

    /// Closes the input of this worker: it has nothing more to send.
    pub(crate) fn close(&self) {
        *self.input.borrow_mut() = None;
    }
}

impl Received {
    fn receive(&mut self, notice: Notice) {
        match notice {
            Notice::Queues(n_queues) => {
                self.n_workers += 1;
                self.n_queues += n_queues;
            }
            Notice::Stop => self.stop = true,
            Notice::Waits(progress) => self.waiting.push(progress),
            Notice::Ready => self.n_ready += 1,
        }
    }

    /// The progress of the slowest queue, once the queues of all workers wait.
    fn slowest(&self, n_workers: usize) -> Option<Progress> {
        let all = self.n_workers == n_workers && self.waiting.len() == self.n_queues;
        self.waiting.iter().min().copied().filter(|_| all)
    }
}
