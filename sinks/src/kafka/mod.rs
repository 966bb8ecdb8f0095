//! Kafka: records as messages with `CloudEvents` headers, exactly once for consumers that read
//! committed messages only.
//!
//! A commit is one transaction: the accepted messages, the dead letters of records that brokers or the
//! format of values have no room for, and a progress record with the sink's upper.
//! After a failed commit nobody knows whether it was made, so the producer is not used again: a new
//! one first ends whatever its predecessor left open, and then reads how far it had come.
//!
//! Sources: Apache Kafka KIP-98 (transactions); `CloudEvents` 1.0, Kafka protocol binding, binary mode.

mod avro;
mod message;
mod progress;
mod protobuf;
mod registry;
mod topics;
mod transactions;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::kafka::message::{Envelope, Message, TOO_LARGE};
use crate::kafka::progress::{ProgressRecord, Run};
use crate::kafka::topics::Topics;
use crate::kafka::transactions::{Transactions, Unsent};
use crate::kafka::values::Values;
use crate::{Rejected, Sink, SinkContext, SinkError};

pub use crate::kafka::registry::RegistryError;
pub use crate::kafka::values::ValueFormat;

/// Bytes after which messages are sent early.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// The setting of the client that bounds a message, and what it is if it is not set.
const MAX_BYTES: (&str, usize) = ("message.max.bytes", 1_000_000);
/// Bytes that the client puts around what a message carries, and more.
const FRAMING_BYTES: usize = 512;

/// Settings of the `kafka` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to ask first, as `host:port` with commas between them.
    pub brokers: String,
    /// Topic for all records. Without it each kind of record has its own, such as
    /// "fresnel.pose.frames.v1", made if it is not there.
    pub topic: Option<String>,
    /// What the names of topics begin with; "fresnel" by default. PREFIX.progress holds how far sinks
    /// have come.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// How values are written: "json" (default), or with `avro` or `protobuf` as in
    /// `{ avro = { registry = "http://host:8081" } }`.
    #[serde(default)]
    pub values: ValueFormat,
    /// Milliseconds between transactions at most; 100 by default.
    #[serde(default = "default_commit_interval_ms")]
    pub commit_interval_ms: u32,
    /// Further settings of the client, as librdkafka has them, such as "compression.type".
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

fn default_prefix() -> String {
    "fresnel".to_owned()
}

fn default_commit_interval_ms() -> u32 {
    100
}

impl KafkaConfig {
    /// Connects, and finds out how far earlier runs have come.
    ///
    /// # Errors
    ///
    /// [`SinkError::Kafka`] if the brokers cannot be reached or refuse.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<Kafka, SinkError> {
        let mut sink = Kafka {
            client: self.client(),
            brokers: self.brokers.clone(),
            topics: Topics::new(self.topic.clone(), &self.prefix, context.inputs),
            envelope: Envelope::new(context, Values::new(&self.values)),
            commit_interval: Duration::from_millis(self.commit_interval_ms.into()),
            max_bytes: self.max_bytes(),
            run: Run {
                sink: format!("{}/{}", context.pipeline, context.name),
                lineage: context.lineage.to_owned(),
                generation: context.generation,
            },
            n_connections: 0,
            upper: 0,
            transactions: None,
            messages: Vec::new(),
            n_bytes: 0,
            one_by_one: false,
            rejected: Rejected::new(),
        };
        let mut open = || {
            sink.topics.create(&sink.client)?;
            let transactions = Transactions::init(&sink.client, &sink.run.sink, false)?;
            sink.record_progress(transactions, &sink.run.opening())
        };
        sink.transactions = open().map_err(|source| sink.failed(source))?;
        Ok(sink)
    }

    /// The place of its upper.
    pub(crate) fn state_shape(&self) -> String {
        format!("kafka 1, {}.progress", self.prefix)
    }

    /// Bytes that the client takes as one message.
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

/// A transactional producer, and what it is to send next.
pub(crate) struct Kafka {
    client: ClientConfig,
    brokers: String,
    topics: Topics,
    envelope: Envelope,
    commit_interval: Duration,
    /// Bytes of a message that is not too large.
    max_bytes: usize,
    run: Run,
    n_connections: u32,
    /// The topics hold everything before this tick.
    upper: Tick,
    /// None after a failure, or when another run has taken over.
    transactions: Option<Transactions>,
    /// Accepted, in the order of their ticks.
    messages: Vec<(Tick, Message)>,
    n_bytes: usize,
    /// True while it is to be found out which messages brokers refuse.
    one_by_one: bool,
    rejected: Rejected,
}

impl Kafka {
    /// Fences earlier producers of this sink, then reads their progress. None if a later run has fenced this
    /// one.
    fn connect(&mut self) -> KafkaResult<Option<Transactions>> {
        // Each attempt has its own number: the record of a failed one may be in the topic all the same, and
        // the records of other runs after it must be read.
        let begin = self.run.begin(self.n_connections);
        self.n_connections += 1;
        let transactions = Transactions::init(&self.client, &self.run.sink, self.one_by_one)?;
        self.record_progress(transactions, &begin)
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

    /// Sends what was accepted in one transaction. None if another run has taken over.
    fn transact(&mut self, upper: Tick) -> Result<Option<Transactions>, Unsent> {
        // Taken out: it is not used again after a failure.
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
        }
        Ok(Some(transactions))
    }

    /// Makes dead letters of messages that brokers refuse. False if nothing else could be sent then.
    fn reject(&mut self, refused: &[(usize, &'static str)]) -> bool {
        if refused.is_empty() {
            return false;
        }
        // Whichever messages of a batch are to blame, all of it is refused.
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

    /// Accepts a message, or its dead letter. Gives how many records were accepted.
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
        let messages = self.envelope.wrap(tick, records, &self.topics)?;
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
                    // Again, with dead letters for what was refused.
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
            // Without those, large batches may be taken again: by another producer.
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
