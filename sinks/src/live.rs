//! The live hub: current records, for dashboards.
//!
//! A view that reads too slowly misses records; it does not delay the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use schemas::{PoseFrame, Record, Tick};
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::settings::SinkSettings;
use crate::{OpenSink, Sink, SinkContext, SinkError};

/// Maximum lag of a slow view, in records, before it misses some.
const HUB_RECORDS: usize = 1024;
/// The most links that are known by name.
const MAX_LINKS: usize = 1024;
/// Frames with a longer delay are not live, such as those of a recording.
const LONGEST_DELAY_MS: f32 = 3_600_000.0;

/// Settings of the `live` sink, which has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {}

impl SinkSettings for LiveConfig {
    fn is_served(&self) -> bool {
        true
    }

    /// Opens a sink that publishes to the hub of the run.
    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        Ok(OpenSink::new(Live { hub: Arc::clone(context.hub) }))
    }
}

/// Publishes records to all views, and stores the newest pose frame of each source and the names of links.
#[derive(Debug)]
pub struct Hub {
    sender: broadcast::Sender<Arc<Record>>,
    latest: RwLock<BTreeMap<(String, String), Arc<Record>>>,
    links: RwLock<BTreeSet<String>>,
}

impl Default for Hub {
    fn default() -> Self {
        let (latest, links) = Default::default();
        Self { sender: broadcast::channel(HUB_RECORDS).0, latest, links }
    }
}

impl Hub {
    /// Returns a receiver of all records that are published from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.sender.subscribe()
    }

    /// Returns the newest pose frame of each source, in the order of site and source.
    pub fn latest_poses(&self) -> Vec<PoseFrame> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        let poses = latest.values().filter_map(|record| match &**record {
            Record::Pose(frame) => Some(frame.clone()),
            _ => None,
        });
        poses.collect()
    }

    /// Returns the links whose motion was published, in order; None before the first one, and if there are too many.
    pub fn links(&self) -> Option<Vec<String>> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let is_complete = (1..MAX_LINKS).contains(&links.len());
        is_complete.then(|| links.iter().cloned().collect())
    }

    fn note_link(&self, link: &str) {
        let is_known = |links: &BTreeSet<String>| links.contains(link) || links.len() >= MAX_LINKS;
        if !is_known(&self.links.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
            links.insert(link.to_owned());
        }
    }

    /// Publishes a record to all views.
    pub fn publish(&self, record: Record) {
        let record = Arc::new(record);
        if let Record::Presence(presence) = &*record {
            // A room has no devices.
            if presence.link.contains('/') {
                self.note_link(&presence.link);
            }
        }
        if let Record::Pose(frame) = &*record {
            let source = (frame.site.clone(), frame.source.clone());
            let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
            latest.insert(source, Arc::clone(&record));
        }
        // A hub without a view is not an error.
        let _ = self.sender.send(record);
    }
}

/// The sink that publishes to a hub.
#[derive(Debug)]
pub(crate) struct Live {
    hub: Arc<Hub>,
}

impl Sink for Live {
    #[expect(clippy::disallowed_methods, reason = "the delay of a live view is a matter of clocks")]
    fn write(&mut self, _tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        for record in records {
            let mut record = record.clone();
            if let Record::Pose(frame) = &mut record {
                frame.processing_time_ms = delay_ms(SystemTime::now(), frame.captured_at_ns);
            }
            self.hub.publish(record);
        }
        Ok(records.iter().map(Record::len).sum())
    }

    fn commit(&mut self, _upper: Tick) -> Result<(), SinkError> {
        Ok(())
    }

    fn upper(&self) -> Option<Tick> {
        None
    }

    fn commit_interval(&self) -> Duration {
        Duration::ZERO
    }
}

/// Milliseconds since the capture; none if that is negative, or not less than one hour.
fn delay_ms(now: SystemTime, captured_at_ns: i64) -> Option<f32> {
    let captured_at = Duration::from_nanos(u64::try_from(captured_at_ns).ok()?);
    let delay = now.duration_since(SystemTime::UNIX_EPOCH + captured_at).ok()?;
    let delay_ms = delay.as_secs_f32() * 1e3;
    (delay_ms < LONGEST_DELAY_MS).then_some(delay_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_frame_of_each_source() {
        let hub = Hub::default();
        for (source, frame_id) in [("b", 1), ("a", 1), ("b", 2)] {
            let source = source.to_owned();
            hub.publish(Record::Pose(PoseFrame { source, frame_id, ..PoseFrame::default() }));
        }
        let latest = hub.latest_poses();
        let latest: Vec<_> =
            latest.iter().map(|frame| (frame.source.as_str(), frame.frame_id)).collect();
        assert_eq!(latest, [("a", 1), ("b", 2)]);
    }

    #[test]
    fn a_recording_has_no_delay() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(delay_ms(now, 999_999_000_000_000), Some(1000.0));
        assert_eq!(delay_ms(now, 5), None);
        assert_eq!(delay_ms(now, -5), None);
    }
}
