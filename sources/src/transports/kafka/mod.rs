//! Kafka: each message contains whole records; each partition of the topic has its own clock.
//!
//! A restart reads the same messages again, by their offsets. Only the time without messages cannot be
//! derived from messages. When a partition is idle, its clock follows the wall clock. This decision is
//! durable before it takes effect, and the next run repeats it.

mod discovery;
mod partition_reader;
mod reader;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::partitions::ingress::Ingress;
use crate::transports::kafka::discovery::Discovery;
use crate::transports::kafka::partition_reader::{Events, PartitionReader};
use crate::transports::kafka::reader::Reader;
use crate::{Partition, SourceError};

/// Time-outs of the request for all partitions when a source is opened, one for each attempt.
const PATIENCE: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(8)];
/// Time in which the client reports its failures.
const REPORT_TIME: Duration = Duration::from_millis(100);
/// The client's setting for the interval of requests for partitions, in milliseconds.
const DISCOVERY_INTERVAL: &str = "topic.metadata.refresh.interval.ms";
/// The default of that setting.
const DISCOVERY_INTERVAL_MS: &str = "60000";

/// A Kafka topic and its brokers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopic {
    /// Bootstrap brokers, as `host:port`, separated by commas.
    pub brokers: String,
    /// The topic. All its partitions are read, from the first available message. A run of one process also
    /// reads partitions that are added later, unless `stop_at_end` is set.
    pub topic: String,
    /// True to end when all messages are read; false (default) to wait for more.
    #[serde(default)]
    pub stop_at_end: bool,
    /// Further settings of the client, with the names of librdkafka, such as "security.protocol". The
    /// interval of checks for new partitions is "topic.metadata.refresh.interval.ms", one minute by
    /// default.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl KafkaTopic {
    /// Opens the partitions of this process's share.
    pub(super) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let failed = |source| self.failed(source);
        let partitions = self.reach().map_err(failed)?;
        // The reader of the first partition also reads new partitions, until the next start.
        let is_read = |partition: &&i32| !ingress.context.is_quarantined(&partition.to_string());
        let discovering = partitions.iter().find(is_read).copied();
        let share = ingress.context.share;
        let here = partitions.iter().enumerate().filter(|(number, _)| share.has(*number));
        let open = |(number, partition): (usize, &i32)| {
            let reader = PartitionReader::open(self, *partition, ingress)?;
            let discovery = (Some(*partition) == discovering)
                .then(|| Discovery::new(self, &partitions, ingress.context));
            let source = Box::new(Reader::new(reader, discovery.flatten(), ingress));
            Ok(Partition { number, name: partition.to_string(), ..Partition::new(source) })
        };
        here.map(open).collect()
    }

    /// Waits for the partitions of the topic, and logs why no broker answers.
    fn reach(&self) -> KafkaResult<Vec<i32>> {
        let consumer = self.client().create_with_context(Events::default())?;
        let mut partitions = self.partitions(&consumer, PATIENCE[0]);
        for patience in &PATIENCE[1..] {
            if partitions.is_ok() {
                break;
            }
            // The client reports failures when it is polled.
            consumer.poll(REPORT_TIME);
            partitions = self.partitions(&consumer, *patience);
        }
        partitions
    }

    /// Returns the partitions of the topic in ascending order, which is the same in all processes.
    fn partitions<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        timeout: Duration,
    ) -> KafkaResult<Vec<i32>> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), timeout)?;
        let topics = metadata.topics().iter();
        let partitions =
            topics.flat_map(|topic| topic.partitions().iter().map(MetadataPartition::id));
        let mut partitions: Vec<_> = partitions.collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        Ok(partitions)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", "fresnel");
        // Offsets are part of checkpoints; the group is set only because a client must have one.
        client.set("group.id", "fresnel").set("enable.auto.commit", "false");
        // Messages that the broker removed before they were read are an error.
        client.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
        client.set(DISCOVERY_INTERVAL, DISCOVERY_INTERVAL_MS);
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }

    fn failed(&self, source: KafkaError) -> SourceError {
        let (brokers, topic) = (self.brokers.clone(), self.topic.clone());
        SourceError::Kafka { brokers, topic, source: Box::new(source) }
    }
}
