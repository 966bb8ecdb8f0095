//! Kafka: records as messages with `CloudEvents` headers, exactly once for consumers that read only
//! committed messages.
//!
//! A commit is one transaction: the accepted messages, the dead letters of records that the brokers or
//! the value format reject, and a progress record with the sink's upper. The outcome of a failed commit
//! is unknown, so its producer is not used again. A new producer first aborts the open transaction of
//! its predecessor, and then reads its progress.
//!
//! Sources: Apache Kafka KIP-98 (transactions); `CloudEvents` 1.0, Kafka protocol binding, binary mode.

mod avro;
pub(crate) mod connection;
mod message;
mod progress;
mod protobuf;
mod topics;
mod transactions;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use schemars::JsonSchema;
use schemas::{Record, Tick, TimeSpan};
use serde::Deserialize;

use crate::kafka::connection::ConnectionLog;
use crate::kafka::message::{Encoder, Message, TOO_LARGE};
use crate::kafka::progress::{ProgressRecord, Run};
use crate::kafka::topics::{Topics, name_mistake};
use crate::kafka::transactions::{Transactions, Unsent};
use crate::kafka::values::Values;
use crate::settings::{SinkSettings, interval_mistake};
use crate::{OpenSink, Rejected, Sink, SinkContext, SinkError};

pub use crate::kafka::values::ValueFormat;

/// Bytes of accepted messages that make a commit due at once.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// The client's setting for the maximum size of a message, and its default.
const MAX_BYTES: (&str, usize) = ("message.max.bytes", 1_000_000);
/// More bytes than the client's framing adds to a message.
const FRAMING_BYTES: usize = 512;

/// Settings of the `kafka` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap brokers, as a comma-separated list of `host:port`.
    pub brokers: String,
    /// Topic for all records. Without it, each kind of record has its own topic, such as
    /// "fresnel.pose.frames.v1". Missing topics are created.
    pub topic: Option<String>,
    /// Prefix of the names of topics; "fresnel" by default. The topic PREFIX.progress contains the
    /// progress of sinks.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Encoding of values: "json" (default), or `avro` or `protobuf` with a schema registry, as in
    /// `{ avro = { registry = "http://host:8081" } }`.
    #[serde(default)]
    pub values: ValueFormat,
    /// Maximum time between transactions; "100ms" by default.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: TimeSpan,
    /// Further settings of the Kafka client, with librdkafka's names, such as "compression.type".
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

fn default_prefix() -> String {
    "fresnel".to_owned()
}

fn default_commit_interval() -> TimeSpan {
    TimeSpan::from_ms(100)
}

impl KafkaConfig {
    fn topic_mistake(&self) -> Option<String> {
        let topic = self.topic.as_ref()?;
        if *topic == format!("{}.progress", self.prefix) {
            return Some(format!(
                "topic must be another one than \"{topic}\": that is not for records"
            ));
        }
        name_mistake("topic", topic)
    }

    /// Connects, and reads the progress of earlier runs.
    ///
    /// # Errors
    ///
    /// [`SinkError::Kafka`] if the brokers cannot be reached or reject a request.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<Kafka, SinkError> {
        let mut sink = Kafka {
            client: self.client(),
            brokers: self.brokers.clone(),
            topics: Topics::new(self.topic.clone(), &self.prefix, context.inputs),
            encoder: Encoder::new(context, Values::new(&self.values)),
            commit_interval: self.commit_interval.into(),
            max_bytes: self.max_bytes(),
            run: Run {
                sink: format!("{}/{}", context.pipeline, context.name),
                lineage: context.lineage.to_owned(),
                generation: context.generation,
            },
            n_connections: 0,
            upper: 0,
            transactions: None,
            log: ConnectionLog::default(),
            messages: Vec::new(),
            n_bytes: 0,
            one_by_one: false,
            rejected: Rejected::new(),
        };
        let mut open = || {
            sink.topics.create(&sink.client, &sink.log)?;
            let transactions = sink.new_producer()?;
            sink.record_progress(transactions, &sink.run.opening())
        };
        sink.transactions = open().map_err(|source| sink.failed(source))?;
        Ok(sink)
    }

    /// Maximum size of a message without framing, in bytes.
    fn max_bytes(&self) -> usize {
        let (name, default) = MAX_BYTES;
        let set = self.properties.get(name).and_then(|bytes| bytes.parse().ok());
        set.unwrap_or(default).saturating_sub(FRAMING_BYTES)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", "fresnel");
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }
}

impl SinkSettings for KafkaConfig {
    fn problems(&self) -> Vec<String> {
        let none = || "brokers must name one, as in \"localhost:9092\"".to_owned();
        let brokers = self.brokers.trim().is_empty().then(none);
        let prefix = name_mistake("prefix", &self.prefix);
        let interval = interval_mistake(self.commit_interval);
        [brokers, prefix, self.topic_mistake(), interval].into_iter().flatten().collect()
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("kafka 1, {}.progress", self.prefix))
    }

    fn leftovers(&self, _directory: &Path) -> Option<String> {
        let topics = Topics::new(self.topic.clone(), &self.prefix, &[]);
        // Without an answer there may be topics.
        let exist = topics.exist(&self.client()).unwrap_or(true);
        exist.then(|| "topics keep what earlier runs sent; new messages follow it".to_owned())
    }

    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        Ok(OpenSink::new(self.open(context)?))
    }
}

/// A transactional producer, and the messages to send next.
pub(crate) struct Kafka {
    client: ClientConfig,
    brokers: String,
    topics: Topics,
    encoder: Encoder,
    commit_interval: Duration,
    /// Maximum size of a message, in bytes.
    max_bytes: usize,
    run: Run,
    n_connections: u32,
    /// The topics have everything before this tick.
    upper: Tick,
    /// None after a failure, or when another run has taken over.
    transactions: Option<Transactions>,
    log: ConnectionLog,
    /// Accepted messages, in the order of their ticks.
    messages: Vec<(Tick, Message)>,
    n_bytes: usize,
    /// True while messages are sent one by one, to find those that brokers refuse.
    one_by_one: bool,
    rejected: Rejected,
}

impl Kafka {
    /// Fences earlier producers of this sink, then reads their progress. None if a later run has fenced this
    /// one.
    fn connect(&mut self) -> KafkaResult<Option<Transactions>> {
        // Each attempt has its own number: the record of a failed attempt may be in the topic, and the
        // records of other runs after it must be read.
        let begin = self.run.begin(self.n_connections);
        self.n_connections += 1;
        let transactions = self.new_producer()?;
        self.record_progress(transactions, &begin)
    }

    fn new_producer(&self) -> KafkaResult<Transactions> {
        Transactions::init(&self.client, &self.run.sink, self.one_by_one, &self.log)
    }

    /// Records that a producer has begun, then reads the progress of earlier producers. None if this run is
    /// fenced itself.
    fn record_progress(
        &mut self,
        transactions: Transactions,
        record: &ProgressRecord,
    ) -> KafkaResult<Option<Transactions>> {
        let sent = transactions.commit(&[&record.to_message(&self.topics)]);
        sent.map_err(|unsent| unsent.error)?;
        let found = progress::read(&self.client, &self.topics, record)?;
        self.upper = self.upper.max(found.upper);
        self.messages.retain(|(tick, _)| *tick >= self.upper);
        Ok(Some(transactions).filter(|_| !found.taken_over))
    }

    /// Sends the accepted messages in one transaction. None if another run has taken over.
    fn transact(&mut self, upper: Tick) -> Result<Option<Transactions>, Unsent> {
        // Taken out: a producer is not used again after a failure.
        let transactions = match self.transactions.take() {
            Some(transactions) => Some(transactions),
            None => self.connect()?,
        };
        let Some(transactions) = transactions else { return Ok(None) };
        if self.upper < upper {
            let progress = self.run.progress(upper).to_message(&self.topics);
            let messages = self.messages.iter().map(|(_, message)| message);
            transactions.commit(&messages.chain([&progress]).collect::<Vec<_>>())?;
            self.upper = upper;
            self.log.reset();
        }
        Ok(Some(transactions))
    }

    /// Turns messages that brokers refuse into dead letters. Returns false if another attempt would
    /// send the same messages.
    fn reject(&mut self, refused: &[(usize, &'static str)]) -> bool {
        if refused.is_empty() {
            return false;
        }
        // Brokers refuse a batch as a whole, so the next attempt sends messages one by one.
        if !std::mem::replace(&mut self.one_by_one, true) {
            return true;
        }
        let mut rejected = false;
        for &(number, reason) in refused {
            let Some((_, message)) = self.messages.get_mut(number) else { continue };
            let is_first = message.rejected.is_none();
            rejected |= message.reject(self.topics.rejected(), reason);
            if is_first {
                *self.rejected.entry(reason).or_default() += message.n_records as u64;
            }
        }
        rejected
    }

    /// Accepts a message, or its dead letter. Returns the number of accepted records.
    fn accept(&mut self, tick: Tick, mut message: Message) -> usize {
        while message.len() > self.max_bytes && message.reject(self.topics.rejected(), TOO_LARGE) {}
        let n_records = message.n_records;
        let rejected = message.rejected;
        self.n_bytes += message.len();
        self.messages.push((tick, message));
        let Some(reason) = rejected else { return n_records };
        *self.rejected.entry(reason).or_default() += n_records as u64;
        0
    }

    fn failed(&self, source: KafkaError) -> SinkError {
        SinkError::Kafka { brokers: self.brokers.clone(), source: Box::new(source) }
    }
}

impl Sink for Kafka {
    fn fence(&mut self) -> Result<(), SinkError> {
        let upper = self.upper;
        let begin = self.run.begin(self.n_connections);
        self.n_connections += 1;
        let fence = match self.transactions.take() {
            Some(transactions) => self.record_progress(transactions, &begin),
            None => Ok(None),
        };
        self.transactions = fence.map_err(|source| self.failed(source))?;
        if self.transactions.is_none() || self.upper != upper {
            return Err(SinkError::TakenOver { sink: self.run.sink.clone() });
        }
        Ok(())
    }

    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        if tick < self.upper {
            return Ok(0);
        }
        let messages = self.encoder.encode(tick, records, &self.topics)?;
        Ok(messages.into_iter().map(|message| self.accept(tick, message)).sum())
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        if upper <= self.upper {
            return Ok(());
        }
        self.transactions = loop {
            match self.transact(upper) {
                Ok(transactions) => break transactions,
                Err(unsent) => {
                    // The next attempt sends dead letters of refused messages.
                    if !self.reject(&unsent.refused) {
                        return Err(self.failed(unsent.error));
                    }
                }
            }
        };
        if self.transactions.is_none() {
            return Err(SinkError::TakenOver { sink: self.run.sink.clone() });
        }
        if self.one_by_one && self.messages.iter().any(|(_, message)| message.rejected.is_some()) {
            // Without the refused messages, a new producer can send large batches again.
            (self.one_by_one, self.transactions) = (false, None);
        }
        self.messages.clear();
        self.n_bytes = 0;
        Ok(())
    }

    fn upper(&self) -> Option<Tick> {
        Some(self.upper)
    }

    fn full(&self) -> bool {
        self.n_bytes >= FULL_BYTES
    }

    fn commit_interval(&self) -> Duration {
        self.commit_interval
    }

    fn take_rejected(&mut self) -> Rejected {
        std::mem::take(&mut self.rejected)
    }
}
