//! Finds partitions that are added to a topic while it is read.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use schemas::Tick;

use crate::partitions::position;
use crate::transports::kafka::partition_reader::ANSWER_TIMEOUT;
use crate::transports::kafka::{DISCOVERY_INTERVAL, KafkaTopic};
use crate::{Share, SourceContext};

/// The shortest pause after a failed request to brokers, since readers wait during a request.
const FAILURE_PAUSE: Duration = Duration::from_mins(1);

/// Requests the partitions of a topic at an interval.
pub(super) struct Discovery {
    topic: KafkaTopic,
    source: String,
    quarantine: Vec<String>,
    interval: Duration,
    ask_at: Instant,
    known: Vec<i32>,
    /// The first tick of new partitions: after the last tick that sinks had committed when the run started.
    pub(super) begins_at: Tick,
}

impl Discovery {
    /// Finds partitions of a topic other than `known` and those of an earlier run. None if the topic is
    /// read up to its end, if the client's interval disables discovery, or if there are other processes.
    /// Another process might find the same partitions.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(super) fn new(
        topic: &KafkaTopic,
        known: &[i32],
        context: &SourceContext<'_>,
    ) -> Option<Self> {
        let interval_ms = topic.client().get(DISCOVERY_INTERVAL)?.parse().ok()?;
        let is_alone = context.share == Share::ALL;
        let earlier = context.positions.iter().filter_map(|(name, _)| str::from_utf8(name).ok());
        let earlier = earlier.filter_map(|name| name.parse().ok());
        let interval = Duration::from_millis(interval_ms);
        (is_alone && !topic.stop_at_end).then(|| Self {
            topic: topic.clone(),
            source: context.name.to_owned(),
            quarantine: context.quarantine.to_vec(),
            interval,
            ask_at: Instant::now() + interval,
            known: known.iter().copied().chain(earlier).collect(),
            begins_at: context.begins_at,
        })
    }

    /// Returns new partitions, each once, if a request is due. After a failed request, the next one follows
    /// after a pause.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(super) fn find<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) -> Vec<i32> {
        if Instant::now() < self.ask_at {
            return Vec::new();
        }
        let found = self.topic.partitions(consumer, ANSWER_TIMEOUT);
        let pause = if found.is_ok() { self.interval } else { self.interval.max(FAILURE_PAUSE) };
        self.ask_at = Instant::now() + pause;
        let found = found.unwrap_or_else(|error| {
            let (source, error) = (&self.source, &error as &dyn std::error::Error);
            tracing::warn!(source, error, "could not ask which partitions the topic has");
            Vec::new()
        });
        let is_new =
            |partition: &i32| !self.known.contains(partition) && !self.is_quarantined(*partition);
        let new: Vec<_> = found.into_iter().filter(is_new).collect();
        self.known.extend(&new);
        new
    }

    fn is_quarantined(&self, partition: i32) -> bool {
        position::is_quarantined(&self.quarantine, &self.source, &partition.to_string())
    }
}
