//! A transactional producer: consumers see all messages of a transaction or none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::kafka::connection::ConnectionLog;
use crate::kafka::message::{Message, TOO_LARGE};

/// Time-out of a broker's response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A producer that has fenced all earlier ones with its transactional id.
pub(super) struct Transactions {
    producer: ThreadedProducer<Deliveries>,
}

/// The failure of a transaction.
pub(super) struct Unsent {
    pub(super) error: KafkaError,
    /// Messages that brokers refuse because of their content, by number, with the reason. All messages
    /// of a batch are refused together.
    pub(super) refused: Vec<(usize, &'static str)>,
}

impl From<KafkaError> for Unsent {
    fn from(error: KafkaError) -> Self {
        Self { error, refused: Vec::new() }
    }
}

impl Transactions {
    /// Takes over the transactional id: open transactions of earlier producers are aborted. With
    /// `one_by_one`, a message is refused only because of its own content.
    pub(super) fn init(
        client: &ClientConfig,
        id: &str,
        one_by_one: bool,
        log: &ConnectionLog,
    ) -> KafkaResult<Self> {
        let mut client = client.clone();
        client.set("transactional.id", id).set("transaction.timeout.ms", "30000");
        // The partition of a key is the same as with Java's producers.
        client.set("partitioner", "murmur2_random");
        // The sink bounds the queued bytes itself.
        client.set("queue.buffering.max.messages", "0").set("linger.ms", "5");
        if one_by_one {
            client.set("batch.num.messages", "1");
        }
        let producer: ThreadedProducer<_> = client.create_with_context(Deliveries::new(log))?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Self { producer })
    }

    /// Sends messages in one transaction. After an error the outcome is unknown: the producer must not
    /// be used again.
    pub(super) fn commit(&self, messages: &[&Message]) -> Result<(), Unsent> {
        let Err(error) = self.try_commit(messages) else { return Ok(()) };
        if may_be_about_messages(&error) {
            // Waits for the delivery reports of all messages.
            let _ = self.producer.abort_transaction(TIMEOUT);
        }
        let refused = std::mem::take(&mut *self.producer.context().lock());
        Err(Unsent { error, refused })
    }

    fn try_commit(&self, messages: &[&Message]) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        for (message, number) in messages.iter().zip(0..) {
            if let Err((error, _)) = self.producer.send(message.to_record(number)) {
                self.producer.context().note(&error, number);
                return Err(error);
            }
        }
        self.producer.commit_transaction(TIMEOUT)
    }
}

/// Receives delivery reports.
struct Deliveries {
    connection: ConnectionLog,
    refused: Mutex<Vec<(usize, &'static str)>>,
}

impl Deliveries {
    fn new(log: &ConnectionLog) -> Self {
        Self { connection: log.clone(), refused: Mutex::default() }
    }

    /// Records a message that is refused because of its content.
    fn note(&self, error: &KafkaError, number: usize) {
        let reason = error.rdkafka_error_code().and_then(refusal);
        self.lock().extend(reason.map(|reason| (number, reason)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, &'static str)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connection.log(level, facility, message);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            self.note(error, number);
        }
    }
}

/// Returns the reason, if brokers refuse a message with this error on every attempt.
fn refusal(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => Some(TOO_LARGE),
        RDKafkaErrorCode::InvalidTimestamp => Some("brokers refuse its time"),
        RDKafkaErrorCode::InvalidRecord => Some("brokers refuse it"),
        _ => None,
    }
}

/// True if the messages of a transaction may have caused the error.
fn may_be_about_messages(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.txn_requires_abort(),
        // After a message has failed, the producer accepts no further message.
        error => error
            .rdkafka_error_code()
            .is_some_and(|code| code == RDKafkaErrorCode::State || refusal(code).is_some()),
    }
}
