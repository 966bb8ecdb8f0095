//! The live hub: current records, for dashboards.
//!
//! A view that reads too slowly misses records; it does not delay the pipeline.

use std::collections::BTreeMap;
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

/// Publishes records to all views, and stores the newest pose frame of each source.
#[derive(Debug)]
pub struct Hub {
    sender: broadcast::Sender<Arc<Record>>,
    latest: RwLock<BTreeMap<(String, String), Arc<Record>>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { sender: broadcast::channel(HUB_RECORDS).0, latest: RwLock::default() }
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

    /// Publishes a record to all views.
    pub fn publish(&self, record: Record) {
        let record = Arc::new(record);
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
