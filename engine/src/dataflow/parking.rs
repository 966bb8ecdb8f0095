//! Where sources wait for each other when a run stops before their end: what all have gone beyond is
//! made durable, what only some have is left for the next run.
//!
//! Workers tell each other in a small dataflow beside the pipeline's. Nobody lets go of time before
//! every worker knows where the run stops, because to a frontier a stop looks like the end.

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

/// What a worker tells all workers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Notice {
    /// It has so many feeds.
    Feeds(usize),
    /// The run is to stop.
    Stop,
    /// One of its feeds waits, and has come so far.
    Parked(Progress),
    /// It knows where the run stops.
    Ready,
}

/// What was told so far.
#[derive(Debug, Default)]
struct Heard {
    n_workers: usize,
    n_feeds: usize,
    stop: bool,
    parked: Vec<Progress>,
    n_ready: usize,
}

/// A worker's part of it.
pub(crate) struct Parking {
    n_workers: usize,
    stop_point: StopPoint,
    input: RefCell<Option<InputHandleVec<(), Notice>>>,
    /// Notices that are not told yet.
    to_tell: RefCell<Vec<Notice>>,
    told_stop: Cell<bool>,
    told_ready: Cell<bool>,
    heard: Rc<RefCell<Heard>>,
}

impl Parking {
    /// For a worker with so many feeds; `stop_point` receives where the run stops.
    pub(super) fn new(worker: &mut Worker, n_feeds: usize, stop_point: StopPoint) -> Self {
        let heard = Rc::<RefCell<Heard>>::default();
        let hears = Rc::clone(&heard);
        let input = worker.dataflow_named("Parking", |scope| {
            let (input, notices) = scope.new_input();
            notices.broadcast().inspect(move |notice| hears.borrow_mut().hear(*notice));
            input
        });
        Self {
            n_workers: worker.peers(),
            stop_point,
            input: RefCell::new(Some(input)),
            to_tell: RefCell::new(vec![Notice::Feeds(n_feeds)]),
            told_stop: Cell::default(),
            told_ready: Cell::default(),
            heard,
        }
    }

    /// Says that a feed waits, and how far it has come; once for each feed.
    pub(super) fn park(&self, progress: Progress) {
        self.to_tell.borrow_mut().push(Notice::Parked(progress));
    }

    /// How far the last of all feeds has come, once all wait and every worker knows it.
    pub(super) fn low(&self) -> Option<Progress> {
        let heard = self.heard.borrow();
        heard.low(self.n_workers).filter(|_| heard.n_ready == self.n_workers)
    }

    /// Tells and does what there is to tell and to do; to be called between steps. `stop` is set when
    /// any process was asked to stop.
    pub(crate) fn update(&self, stop: &AtomicBool) {
        let heard = self.heard.borrow();
        if heard.stop {
            stop.store(true, Ordering::Relaxed);
        }
        let mut to_tell = self.to_tell.borrow_mut();
        if stop.load(Ordering::Relaxed) && !self.told_stop.replace(true) {
            to_tell.push(Notice::Stop);
        }
        if let Some(low) = heard.low(self.n_workers).filter(|_| !self.told_ready.replace(true)) {
            if let Progress::Reached(tick) = low {
                self.stop_point.set(tick);
            }
            to_tell.push(Notice::Ready);
        }
        if let Some(input) = self.input.borrow_mut().as_mut().filter(|_| !to_tell.is_empty()) {
            input.send_batch(&mut to_tell);
            input.flush();
        }
    }

    /// Says that this worker has nothing more to tell.
    pub(crate) fn close(&self) {
        *self.input.borrow_mut() = None;
    }
}

impl Heard {
    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Feeds(n_feeds) => {
                self.n_workers += 1;
                self.n_feeds += n_feeds;
            }
            Notice::Stop => self.stop = true,
            Notice::Parked(progress) => self.parked.push(progress),
            Notice::Ready => self.n_ready += 1,
        }
    }

    /// How far the last feed has come, once all of all workers wait.
    fn low(&self, n_workers: usize) -> Option<Progress> {
        let all = self.n_workers == n_workers && self.parked.len() == self.n_feeds;
        self.parked.iter().min().copied().filter(|_| all)
    }
}
