//! A producer whose messages are seen all together or not at all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::kafka::message::{Message, TOO_LARGE};

/// Time-out of a broker's response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A producer that has shut out all earlier ones of its name.
pub(super) struct Transactions {
    producer: ThreadedProducer<Deliveries>,
}

/// Why a transaction was not made.
pub(super) struct Unsent {
    pub(super) error: KafkaError,
    /// Messages that brokers refuse for what they are, by their number, and why. Those of a batch are
    /// refused together.
    pub(super) refused: Vec<(usize, &'static str)>,
}

impl From<KafkaError> for Unsent {
    fn from(error: KafkaError) -> Self {
        Self { error, refused: Vec::new() }
    }
}

impl Transactions {
    /// Takes the name over: what an earlier producer left open is undone. One by one, a message is
    /// refused only for what it is itself.
    pub(super) fn init(client: &ClientConfig, id: &str, one_by_one: bool) -> KafkaResult<Self> {
        let mut client = client.clone();
        client.set("transactional.id", id).set("transaction.timeout.ms", "30000");
        // Where Java's producers put a key.
        client.set("partitioner", "murmur2_random");
        // What is queued has a bound of its own.
        client.set("queue.buffering.max.messages", "0").set("linger.ms", "5");
        if one_by_one {
            client.set("batch.num.messages", "1");
        }
        let producer: ThreadedProducer<_> = client.create_with_context(Deliveries::default())?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Self { producer })
    }

    /// Sends messages in one transaction. After an error nobody knows whether they are there: the
    /// producer must not be used again.
    pub(super) fn commit(&self, messages: &[&Message]) -> Result<(), Unsent> {
        let Err(error) = self.try_commit(messages) else { return Ok(()) };
        if may_be_about_messages(&error) {
            // Waits until it is known of each message what became of it.
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

/// Hears what became of messages.
#[derive(Default)]
struct Deliveries {
    refused: Mutex<Vec<(usize, &'static str)>>,
}

impl Deliveries {
    /// Notes a message that is refused for what it is.
    fn note(&self, error: &KafkaError, number: usize) {
        let reason = error.rdkafka_error_code().and_then(refusal);
        self.lock().extend(reason.map(|reason| (number, reason)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, &'static str)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            self.note(error, number);
        }
    }
}

/// Why a broker refuses a message however often it is sent, if that is what an error says.
fn refusal(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => Some(TOO_LARGE),
        RDKafkaErrorCode::InvalidTimestamp => Some("brokers refuse its time"),
        RDKafkaErrorCode::InvalidRecord => Some("brokers refuse it"),
        _ => None,
    }
}

/// True for errors of a transaction that has failed because of its messages, or may have.
fn may_be_about_messages(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.txn_requires_abort(),
        // After the first message that failed no further one is taken.
        error => error
            .rdkafka_error_code()
            .is_some_and(|code| code == RDKafkaErrorCode::State || refusal(code).is_some()),
    }
}
