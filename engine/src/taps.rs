//! Taps: anyone may look at the records of a stream while they flow. Who looks too slowly misses some;
//! nothing waits for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::{Record, RecordKind};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::StreamName;

/// Records that wait for who looks.
const WAITING: usize = 1024;

/// The taps of a run that are open.
#[derive(Debug, Default)]
pub struct Taps {
    /// Looked at for each batch, so that nobody pays for taps that are not there.
    n_open: AtomicUsize,
    open: Mutex<Vec<(StreamName, Sender<Record>)>>,
}

impl Taps {
    /// Opens a tap on a stream. It closes when the receiver is gone.
    pub fn open(&self, stream: StreamName) -> Receiver<Record> {
        let (sender, receiver) = channel(WAITING);
        let mut open = self.lock();
        open.push((stream, sender));
        self.n_open.store(open.len(), Ordering::Relaxed);
        receiver
    }

    /// Shows records that a component sends to the streams that it has.
    pub(crate) fn show(&self, streams: &[(StreamName, RecordKind)], records: &[Record]) {
        if self.n_open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut open = self.lock();
        open.retain(|(name, tap)| {
            let Some((name, kind)) = streams.iter().find(|(stream, _)| stream == name) else {
                return !tap.is_closed();
            };
            let mut shown = records.iter().filter(|record| is_of(record, name, *kind));
            !shown
                .any(|record| matches!(tap.try_send(record.clone()), Err(TrySendError::Closed(_))))
        });
        self.n_open.store(open.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(StreamName, Sender<Record>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a component's record is one of its stream.
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

    #[test]
    fn a_tap_shows_the_records_of_its_stream() {
        let stream =
            |port: &str| StreamName { component: "zones".to_owned(), port: port.to_owned() };
        let streams = [(stream(""), RecordKind::Presence), (stream("events"), RecordKind::Event)];
        let records = [Record::Presence(Presence::default()), Record::Event(Event::default())];
        let taps = Taps::default();
        let mut events = taps.open(stream("events"));
        let mut others = taps.open(stream("nowhere"));
        for _ in 0..WAITING {
            taps.show(&streams, &records);
        }
        taps.show(&streams, &records);
        assert_eq!(events.len(), WAITING, "what is beyond is missed");
        assert_eq!(events.try_recv().ok().as_ref(), Some(&records[1]));
        assert!(others.try_recv().is_err());
        drop((events, others));
        taps.show(&streams, &records);
        assert_eq!(taps.lock().len(), 0);
    }
}
