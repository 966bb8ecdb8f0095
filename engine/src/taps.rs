//! Taps: copies of the records of a stream, for readers outside the dataflow. A tap that is read too slowly
//! drops its oldest records and counts them. Taps never delay the dataflow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use schemas::{Record, RecordKind};
use tokio::sync::Notify;

use crate::StreamName;

/// Maximum size of the records in a tap. The newest record stays in the tap even if it is larger.
const WAITING_BYTES: usize = 1024 * 1024;

/// The open taps of a run.
#[derive(Debug, Default)]
pub struct Taps {
    /// Number of open taps. Read for each batch, so that a batch without open taps costs almost nothing.
    n_open: AtomicUsize,
    open: Mutex<Vec<(StreamName, Weak<TapQueue>)>>,
}

/// An open tap of a stream. Dropping it closes the tap.
#[derive(Debug)]
pub struct Tap {
    queue: Arc<TapQueue>,
}

/// A record of a tapped stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Tapped {
    /// The record, shared by all taps of the stream.
    pub record: Arc<Record>,
    /// Number of records that the tap dropped between the previous record and this record.
    pub n_missed: u64,
}

impl Tap {
    /// Waits for the next record.
    pub async fn next(&self) -> Tapped {
        loop {
            let next = self.queue.lock().pop();
            if let Some(next) = next {
                return next;
            }
            self.queue.filled.notified().await;
        }
    }
}

/// The records that wait for the reader of a tap.
#[derive(Debug, Default)]
struct TapQueue {
    waiting: Mutex<Waiting>,
    /// Notified when a record arrives.
    filled: Notify,
}

impl TapQueue {
    fn push(&self, record: &Arc<Record>, n_bytes: usize) {
        self.lock().push(Arc::clone(record), n_bytes);
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// Records with their approximate size in bytes, oldest first.
    records: VecDeque<(Arc<Record>, usize)>,
    n_bytes: usize,
    /// Number of records that were dropped before the oldest.
    n_missed: u64,
}

impl Waiting {
    fn push(&mut self, record: Arc<Record>, n_bytes: usize) {
        self.records.push_back((record, n_bytes));
        self.n_bytes += n_bytes;
        while self.n_bytes > WAITING_BYTES && self.records.len() > 1 {
            let lost = self.records.pop_front();
            self.n_bytes -= lost.map_or(0, |(_, n_bytes)| n_bytes);
            self.n_missed += 1;
        }
    }

    fn pop(&mut self) -> Option<Tapped> {
        let (record, n_bytes) = self.records.pop_front()?;
        self.n_bytes -= n_bytes;
        Some(Tapped { record, n_missed: std::mem::take(&mut self.n_missed) })
    }
}

impl Taps {
    /// Opens a tap on a stream.
    pub fn open(&self, stream: StreamName) -> Tap {
        let queue = Arc::<TapQueue>::default();
        let mut open = self.lock();
        open.push((stream, Arc::downgrade(&queue)));
        self.n_open.store(open.len(), Ordering::Relaxed);
        Tap { queue }
    }

    /// Sends the records of a component to the open taps of its streams.
    pub(crate) fn show(&self, streams: &[(StreamName, RecordKind)], records: &[Record]) {
        if self.n_open.load(Ordering::Relaxed) == 0 {
            return;
        }
        for (stream, kind) in streams {
            let taps = self.of(stream);
            if taps.is_empty() {
                continue;
            }
            for record in records.iter().filter(|record| is_of(record, stream, *kind)) {
                // All taps of the stream share one copy.
                let (record, n_bytes) = (Arc::new(record.clone()), record.size_bytes());
                for tap in &taps {
                    tap.push(&record, n_bytes);
                }
            }
        }
    }

    /// Returns the open taps of a stream. Removes closed taps.
    fn of(&self, stream: &StreamName) -> Vec<Arc<TapQueue>> {
        let mut taps = Vec::new();
        let mut open = self.lock();
        open.retain(|(name, tap)| {
            let Some(tap) = tap.upgrade() else { return false };
            if name == stream {
                taps.push(tap);
            }
            true
        });
        self.n_open.store(open.len(), Ordering::Relaxed);
        taps
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(StreamName, Weak<TapQueue>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if a record of the component belongs to `stream`.
fn is_of(record: &Record, stream: &StreamName, kind: RecordKind) -> bool {
    match record {
        Record::Rows(rows) => kind == RecordKind::Rows && rows.stream == stream.to_string(),
        record => record.kind() == kind,
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Event, Presence};

    use super::*;

    fn stream(port: &str) -> StreamName {
        StreamName { component: "zones".to_owned(), port: port.to_owned() }
    }

    fn records(subject: String) -> [Record; 2] {
        let event = Event { subject, ..Event::default() };
        [Record::Presence(Presence::default()), Record::Event(event)]
    }

    /// Removes and returns all records of a tap.
    fn waiting(tap: &Tap) -> Vec<Tapped> {
        std::iter::from_fn(|| tap.queue.lock().pop()).collect()
    }

    #[test]
    fn a_tap_shows_the_records_of_its_stream() {
        let streams = [(stream(""), RecordKind::Presence), (stream("events"), RecordKind::Event)];
        let (taps, records) = (Taps::default(), records("p1".to_owned()));
        let events = [taps.open(stream("events")), taps.open(stream("events"))];
        let others = taps.open(stream("nowhere"));
        taps.show(&streams, &records);
        let [first, second] = [waiting(&events[0]), waiting(&events[1])];
        assert_eq!(first.len(), 1);
        assert_eq!((&*first[0].record, first[0].n_missed), (&records[1], 0));
        assert!(Arc::ptr_eq(&first[0].record, &second[0].record), "they share it");
        assert!(waiting(&others).is_empty());
        drop((events, others));
        taps.show(&streams, &records);
        assert_eq!(taps.lock().len(), 0);
    }

    #[test]
    fn a_slow_tap_loses_the_oldest_by_their_bytes() {
        let streams = [(stream("events"), RecordKind::Event)];
        let taps = Taps::default();
        let tap = taps.open(stream("events"));
        let show = |subject: String| taps.show(&streams, &records(subject));
        for nth in 0..10 {
            show(format!("{nth}{}", " ".repeat(300_000)));
        }
        let left = waiting(&tap);
        assert_eq!(left.len(), 3, "more would be beyond the bound");
        assert_eq!(left.iter().map(|it| it.n_missed).collect::<Vec<_>>(), [7, 0, 0]);
        let Record::Event(oldest) = &*left[0].record else { panic!("only events are shown") };
        assert!(oldest.subject.starts_with('7'));
        // A record that is larger than the bound stays in the tap.
        show(" ".repeat(2 * WAITING_BYTES));
        assert_eq!(waiting(&tap).len(), 1);
        show("last".to_owned());
        assert_eq!(waiting(&tap).len(), 1);
        assert_eq!(tap.queue.lock().n_bytes, 0);
    }

    #[test]
    fn a_reader_is_woken() {
        let streams = [(stream("events"), RecordKind::Event)];
        let taps = Taps::default();
        let tap = taps.open(stream("events"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let next = runtime.block_on(async {
            let (next, ()) = tokio::join!(tap.next(), async {
                tokio::task::yield_now().await;
                taps.show(&streams, &records("p1".to_owned()));
            });
            next
        });
        assert_eq!(*next.record, records("p1".to_owned())[1]);
    }
}
