//! Kafka: each message holds whole records; each partition of the topic has a clock of its own.
//!
//! What was read is known by its offset, so a restart reads the same messages again. The one thing
//! that messages do not tell is for how long none came: when a partition is silent its clock goes on
//! with the wall clock, and that is made durable before it takes effect, for the next run to repeat.

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
use crate::transports::kafka::partition_reader::PartitionReader;
use crate::transports::kafka::reader::Reader;
use crate::{Partition, SourceError};

/// Time-out of the question for all partitions, when a source is opened.
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
/// The client's setting for how often it asks which partitions there are, in milliseconds.
const DISCOVERY_INTERVAL: &str = "topic.metadata.refresh.interval.ms";
/// Its default.
const DISCOVERY_INTERVAL_MS: &str = "60000";

/// A topic, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopic {
    /// Brokers to ask first, as `host:port` with commas between them.
    pub brokers: String,
    /// The topic. All its partitions are read, from the first message that is there; so are partitions that
    /// it gets later, by a run of one process, unless `stop_at_end` is set.
    pub topic: String,
    /// True to end when all messages are read; otherwise more are waited for.
    #[serde(default)]
    pub stop_at_end: bool,
    /// Further settings of the client, as librdkafka has them, such as "security.protocol". How often to
    /// look for new partitions is "topic.metadata.refresh.interval.ms", one minute by default.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl KafkaTopic {
    /// Opens the partitions that are to be opened here.
    pub(super) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let failed = |source| self.failed(source);
        let consumer: BaseConsumer = self.client().create().map_err(failed)?;
        let partitions = self.partitions(&consumer, METADATA_TIMEOUT).map_err(failed)?;
        // Whoever reads the first partition reads those that come, until the next start.
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

    /// The partitions that the topic has, in an order that all processes agree on.
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
        // Offsets are part of checkpoints; a group is only named because a client must have one.
        client.set("group.id", "fresnel").set("enable.auto.commit", "false");
        // Messages that are gone before they were read are an error.
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
