//! Kafka: each message holds whole records; each partition of the topic has a clock of its own.
//!
//! What was read is known by its offset, so a restart reads the same messages again. The one thing
//! that messages do not tell is for how long none came: when a partition is silent its clock goes on
//! with the wall clock, and that is made durable before it takes effect, for the next run to repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use schemars::JsonSchema;
use schemas::SourceKind;
use serde::Deserialize;

use crate::arrival_clock::ArrivalClock;
use crate::partitions::messages::{Decoding, Messages};
use crate::partitions::silent::Silent;
use crate::transports::Ingress;
use crate::{Partition, Poll, Source, SourceError};

/// How long to wait for a message before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages taken in one poll at most.
const MESSAGES_PER_POLL: usize = 1024;
/// How long brokers may take to say which partitions there are.
const METADATA_TIMEOUT: Duration = Duration::from_secs(15);
/// How often to look whether a topic has more partitions.
const GROWTH_INTERVAL: Duration = Duration::from_mins(1);
/// How long they may take to say where a partition ends.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A topic, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopic {
    /// Brokers to ask first, as `host:port` with commas between them.
    pub brokers: String,
    /// The topic. All its partitions are read, from the first message that is there.
    pub topic: String,
    /// True to end when all messages are read; otherwise more are waited for.
    #[serde(default)]
    pub stop_at_end: bool,
    /// Further settings of the client, as librdkafka has them, such as "security.protocol".
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl KafkaTopic {
    /// Opens the partitions that are to be opened here.
    pub(super) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let partitions = self.partitions().map_err(|source| self.failed(source))?;
        let (share, n_partitions) = (ingress.context.share, partitions.len());
        let here = partitions.into_iter().enumerate().filter(|(number, _)| share.has(*number));
        let open = |(number, partition): (usize, i32)| {
            let mut source = Box::new(Reader::open(self, partition, ingress)?);
            source.watches = (number == 0).then(|| Growth::new(n_partitions));
            Ok(Partition { number, name: partition.to_string(), ..Partition::new(source) })
        };
        here.map(open).collect()
    }

    fn partitions(&self) -> KafkaResult<Vec<i32>> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), METADATA_TIMEOUT)?;
        let topics = metadata.topics().iter();
        let partitions =
            topics.flat_map(|topic| topic.partitions().iter().map(MetadataPartition::id));
        let mut partitions: Vec<_> = partitions.collect();
        // Their order is all that processes agree on.
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

/// What the client tells beside messages.
struct Events;

impl ClientContext for Events {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes with its messages.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka");
        }
    }
}

impl ConsumerContext for Events {}

/// Reads one partition.
struct Reader {
    topic: KafkaTopic,
    partition: i32,
    consumer: BaseConsumer<Events>,
    messages: Messages,
    decoding: Decoding,
    silent: Silent,
    /// Where the partition ended when the brokers were last asked.
    end: Option<i64>,
    /// In one of the partitions: whether the topic gets others.
    watches: Option<Growth>,
    clock: ArrivalClock,
    /// The offset of a message that is in `payload` and not decoded yet.
    taken: Option<u64>,
    payload: Vec<u8>,
}

impl Reader {
    fn open(
        topic: &KafkaTopic,
        partition: i32,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let name = partition.to_string();
        let (messages, offset) = Messages::open(ingress, SourceKind::Live, &name, false)?;
        let assign = || {
            let consumer: BaseConsumer<_> = topic.client().create_with_context(Events)?;
            let from =
                offset.map_or(Offset::Beginning, |offset| Offset::Offset(offset.cast_signed()));
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition_offset(&topic.topic, partition, from)?;
            consumer.assign(&partitions)?;
            Ok(consumer)
        };
        let consumer = assign().map_err(|source| topic.failed(source))?;
        let silent = Silent::open(ingress, &name)?;
        Ok(Self {
            topic: topic.clone(),
            partition,
            consumer,
            messages,
            decoding: Decoding::open(ingress),
            silent,
            end: None,
            watches: None,
            clock: ArrivalClock::after(i64::MIN),
            taken: None,
            payload: Vec::new(),
        })
    }

    /// Decodes the message that was taken; again, if there was an outage.
    fn decode(&mut self) -> Result<(), SourceError> {
        if let Some(offset) = self.taken {
            self.messages.decode(&mut self.decoding, offset, offset + 1, &self.payload)?;
            self.taken = None;
        }
        Ok(())
    }

    /// Moves the clock if nothing has come for long enough, and the brokers say so too: a client that
    /// has lost them sees nothing either.
    fn keep_silence(&mut self) -> Result<(), SourceError> {
        let Some(silence) = self.silent.due(&self.messages) else { return Ok(()) };
        if self.at_end() {
            return self.silent.keep(silence, &mut self.messages);
        }
        self.silent.unknown();
        self.silent.asked(&self.messages);
        Ok(())
    }

    /// True if brokers have no message beyond those that were read. Behind these there may be markers
    /// of transactions: then the end must be where it was when it was last asked for.
    fn at_end(&mut self) -> bool {
        let (topic, partition) = (&self.topic.topic, self.partition);
        let Ok((_, end)) = self.consumer.fetch_watermarks(topic, partition, END_TIMEOUT) else {
            return false;
        };
        let stays = self.end.replace(end) == Some(end);
        stays || end.unsigned_abs() <= self.messages.offset()
    }
}

impl Source for Reader {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        self.decode()?;
        self.messages.intake.set_written_at(self.clock.now_ns());
        for n_taken in 0..MESSAGES_PER_POLL {
            // The first message is waited for; the others are taken if they are there.
            let patience = if n_taken == 0 { PATIENCE } else { Duration::ZERO };
            let message = match self.consumer.poll(patience) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.silent.asked(&self.messages);
                    if self.topic.stop_at_end {
                        return Ok(self.messages.finish());
                    }
                    break;
                }
                Some(Err(error)) if is_outage(&error) => break,
                Some(Err(source)) => return Err(self.topic.failed(source)),
                None => break,
            };
            self.payload.clear();
            self.payload.extend_from_slice(message.payload().unwrap_or_default());
            let arrived_at_ms = message.timestamp().to_millis();
            let offset = message.offset().unsigned_abs();
            drop(message);
            self.silent.heard(offset, &mut self.messages);
            if let Some(arrived_at_ms) = arrived_at_ms {
                let arrived_at_ns = arrived_at_ms.saturating_mul(1_000_000);
                // A producer may write any time into its messages.
                if self.messages.intake.refuses_arrival(arrived_at_ns) {
                    self.messages.intake.drop_ahead_message(offset);
                    self.messages.skip_to(offset + 1);
                    continue;
                }
                self.messages.intake.set_arrival(arrived_at_ns);
            }
            self.taken = Some(offset);
            self.decode()?;
        }
        self.keep_silence()?;
        if let Some(growth) = &mut self.watches {
            growth.check(&self.consumer, &self.topic.topic);
        }
        Ok(self.messages.intake.take())
    }
}

/// Whether a topic has got partitions since it was opened, which nobody reads.
struct Growth {
    n_partitions: usize,
    checked_at: Instant,
}

impl Growth {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn new(n_partitions: usize) -> Self {
        Self { n_partitions, checked_at: Instant::now() }
    }

    /// Reports partitions that are new, once, if it is time to look for them.
    fn check(&mut self, consumer: &BaseConsumer<Events>, topic: &str) {
        if self.checked_at.elapsed() < GROWTH_INTERVAL {
            return;
        }
        let read = self.n_partitions;
        // Brokers that do not answer now do so another time.
        let found = consumer.fetch_metadata(Some(topic), END_TIMEOUT).map_or(read, |metadata| {
            metadata.topics().iter().map(|topic| topic.partitions().len()).sum()
        });
        *self = Self::new(found.max(read));
        let n_partitions = self.n_partitions;
        if n_partitions > read {
            tracing::warn!(
                topic,
                n_partitions,
                read,
                "the topic has more partitions: they are read after a restart"
            );
        }
    }
}

/// True for what the client gets over by itself when a broker is back.
fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, LeaderNotAvailable,
        NotLeaderForPartition, OperationTimedOut, RequestTimedOut, Resolve,
    };
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            AllBrokersDown
                | BrokerNotAvailable
                | BrokerTransportFailure
                | LeaderNotAvailable
                | NotLeaderForPartition
                | OperationTimedOut
                | RequestTimedOut
                | Resolve
        )
    })
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("topic", &self.topic.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
