//! A producer whose messages are seen all together or not at all.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::kafka::message::Message;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A producer that has shut out all earlier ones of its name.
pub(super) struct Transactions {
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Transactions {
    /// Takes the name over: what an earlier producer left open is undone.
    pub(super) fn init(client: &ClientConfig, id: &str) -> KafkaResult<Self> {
        let mut client = client.clone();
        client.set("transactional.id", id).set("transaction.timeout.ms", "30000");
        // Where Java's producers put a key.
        client.set("partitioner", "murmur2_random");
        // What is queued has a bound of its own.
        client.set("queue.buffering.max.messages", "0").set("linger.ms", "5");
        let producer: ThreadedProducer<_> = client.create()?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Self { producer })
    }

    /// Sends messages and a note in one transaction. After an error nobody knows whether they are
    /// there: the producer must not be used again.
    pub(super) fn commit(&self, messages: &[&Message], note: &Message) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        for message in messages.iter().copied().chain([note]) {
            let record: BaseRecord<'_, _, _> = message.to_record();
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        self.producer.commit_transaction(TIMEOUT)
    }
}
