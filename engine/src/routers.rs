//! The routers of a run: the devices whose CSI its sources read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use schemas::{CsiBatch, Record};

/// The most routers of a source that are known: whoever sends datagrams chooses how many there are.
const MAX_ROUTERS: usize = 10_000;

/// Time over which the rate of frames is measured.
const RATE_TIME: Duration = Duration::from_secs(1);

/// A device that sends CSI.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// The place that it observes.
    pub site: String,
    /// Number of its frames in this run.
    pub n_frames: u64,
    /// The capture time of its newest frame, in nanoseconds since the Unix epoch.
    pub captured_at_ns: i64,
    /// When its newest frame was read.
    pub heard_at: SystemTime,
    /// Frames a second that were read when it was last heard; none within the first second.
    pub frames_per_second: Option<f64>,
    /// Where the measurement of the rate has begun: the time, and the frames by then.
    measured_from: (SystemTime, u64),
}

/// The routers of each source, by name.
type Known = BTreeMap<String, BTreeMap<String, Router>>;

/// The routers of a run.
#[derive(Debug, Default)]
pub struct Routers {
    known: Mutex<Known>,
}

impl Routers {
    /// Counts the frames among the records of a source.
    pub(crate) fn heard<'a>(
        &self,
        source: &str,
        records: impl Iterator<Item = &'a Record>,
        now: SystemTime,
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(source) {
            known.insert(source.to_owned(), BTreeMap::new());
        }
        let Some(routers) = known.get_mut(source) else { return };
        for record in records {
            if let Record::Csi(batch) = record {
                count(routers, batch, now);
            }
        }
    }

    /// Returns all routers.
    pub fn snapshot(&self) -> BTreeMap<String, BTreeMap<String, Router>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn count(routers: &mut BTreeMap<String, Router>, batch: &CsiBatch, now: SystemTime) {
    let (name, n_frames) = (&batch.link.receiver, batch.len() as u64);
    let Some(captured_at_ns) = batch.captured_at_ns.iter().copied().max() else { return };
    if let Some(router) = routers.get_mut(name) {
        router.count(n_frames, captured_at_ns, now);
    } else if routers.len() < MAX_ROUTERS {
        let router = Router {
            site: batch.link.site.clone(),
            n_frames,
            captured_at_ns,
            heard_at: now,
            frames_per_second: None,
            measured_from: (now, n_frames),
        };
        routers.insert(name.clone(), router);
    }
}

impl Router {
    fn count(&mut self, n_frames: u64, captured_at_ns: i64, now: SystemTime) {
        self.n_frames += n_frames;
        self.captured_at_ns = self.captured_at_ns.max(captured_at_ns);
        self.heard_at = now;
        let (from, n_before) = self.measured_from;
        // A clock that was set back measures anew.
        let elapsed = now.duration_since(from).unwrap_or(RATE_TIME);
        if elapsed >= RATE_TIME {
            self.frames_per_second =
                Some((self.n_frames - n_before) as f64 / elapsed.as_secs_f64());
            self.measured_from = (now, self.n_frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{CsiLayout, Link, SourceKind};

    use super::*;

    fn batch(receiver: &str, captured_at_ns: Vec<i64>) -> Record {
        let link = Link {
            site: "flat".to_owned(),
            receiver: receiver.to_owned(),
            transmitter: "ap".to_owned(),
        };
        let mut batch = CsiBatch::new(link, Arc::new(CsiLayout::default()), SourceKind::Live);
        batch.captured_at_ns = captured_at_ns;
        Record::Csi(batch)
    }

    #[test]
    fn frames_are_counted_by_router() {
        let (routers, start) = (Routers::default(), SystemTime::UNIX_EPOCH);
        let records = [batch("a", vec![5, 7]), batch("b", vec![6]), batch("c", Vec::new())];
        routers.heard("hall", records.iter(), start);
        let later = start + Duration::from_secs(2);
        routers.heard("hall", [batch("a", vec![6, 6, 6])].iter(), later);
        let known = routers.snapshot().remove("hall").expect("it was heard");
        assert_eq!(known.keys().collect::<Vec<_>>(), ["a", "b"]);
        let first = &known["a"];
        assert_eq!((first.n_frames, first.captured_at_ns, first.heard_at), (5, 7, later));
        assert_eq!((first.frames_per_second, known["b"].frames_per_second), (Some(1.5), None));
    }

    #[test]
    fn their_number_is_bounded() {
        let routers = Routers::default();
        let records: Vec<_> =
            (0..MAX_ROUTERS + 5).map(|n| batch(&n.to_string(), vec![1])).collect();
        routers.heard("hall", records.iter(), SystemTime::UNIX_EPOCH);
        assert_eq!(routers.snapshot()["hall"].len(), MAX_ROUTERS);
    }
}
