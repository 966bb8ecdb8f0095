//! The routers of a run: the devices whose CSI its sources read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use schemas::{CsiBatch, Record, Tick};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::store::{ItemKind, ItemStore, StoreHandle};

/// The most routers of a source that are known: whoever sends datagrams chooses how many there are.
const MAX_ROUTERS: usize = 10_000;

/// Time between two loads of the settings of routers.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);
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

/// The settings of a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterSettings {
    /// A name for people.
    pub name: Option<String>,
    /// Its place on the plan, in metres.
    pub position: Option<[f32; 2]>,
    /// False if its frames are dropped.
    pub enabled: bool,
}

/// The routers of each source, by name.
type Known = BTreeMap<String, BTreeMap<String, Router>>;

/// The routers of a run.
#[derive(Debug, Default)]
pub struct Routers {
    known: Mutex<Known>,
    /// The names of those whose frames are dropped.
    disabled: RwLock<BTreeSet<String>>,
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

    /// Loads the settings of routers, and again every second: any process of the pipeline may change them. Blocks
    /// until the first load ends.
    pub(crate) fn follow(self: &Arc<Self>, store: &StoreHandle, items: ItemStore) {
        store.block_on(self.load(&items));
        let routers = Arc::downgrade(self);
        store.spawn(async move {
            loop {
                // The store does not report what other processes change.
                sleep(LOAD_INTERVAL).await;
                let Some(routers) = routers.upgrade() else { return };
                routers.load(&items).await;
            }
        });
    }

    /// Loads the settings of routers. The last loaded settings stay in effect while the store does not answer.
    pub async fn load(&self, items: &ItemStore) {
        match items.all(ItemKind::Router).await {
            Ok(settings) => self.apply(settings),
            Err(error) => tracing::debug!(%error, "could not load the settings of routers"),
        }
    }

    fn apply(&self, settings: BTreeMap<String, String>) {
        let disabled = settings.into_iter().filter(|(_, body)| {
            let settings = serde_json::from_str::<RouterSettings>(body);
            settings.is_ok_and(|settings| !settings.enabled)
        });
        let disabled = disabled.map(|(name, _)| name).collect();
        *self.disabled.write().unwrap_or_else(PoisonError::into_inner) = disabled;
    }

    /// Removes the frames of routers that are disabled. Returns their number.
    pub(crate) fn retain_enabled(&self, records: &mut Vec<(Tick, Record)>) -> u64 {
        let disabled = self.disabled.read().unwrap_or_else(PoisonError::into_inner);
        if disabled.is_empty() {
            return 0;
        }
        let mut n_frames = 0;
        records.retain(|(_, record)| {
            let Record::Csi(batch) = record else { return true };
            let is_disabled = disabled.contains(&batch.link.receiver);
            n_frames += if is_disabled { batch.len() as u64 } else { 0 };
            !is_disabled
        });
        n_frames
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
    fn frames_of_a_disabled_router_are_dropped() {
        let routers = Routers::default();
        let records = || vec![(1, batch("a", vec![5, 7])), (1, batch("b", vec![6]))];
        let body = |enabled| {
            let settings = RouterSettings { name: None, position: None, enabled };
            serde_json::to_string(&settings).expect("JSON")
        };
        for (enabled, n_dropped, n_left) in [(false, 2, 1), (true, 0, 2)] {
            routers.apply(BTreeMap::from([("a".to_owned(), body(enabled))]));
            let mut records = records();
            assert_eq!(routers.retain_enabled(&mut records), n_dropped);
            assert_eq!(records.len(), n_left);
        }
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
