//! Connections of a client: logs their failures, and lists the topics.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, ClientContext};

/// Time in which the client reports its failures.
const REPORT_TIME: Duration = Duration::from_millis(100);
/// Time-out of a broker's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Logs each failure of a client's connections once.
#[derive(Default)]
pub(super) struct ConnectionLog {
    logged: Mutex<Vec<RDKafkaErrorCode>>,
}

impl ClientContext for ConnectionLog {
    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if !logged.contains(&code) {
            logged.push(code);
            tracing::warn!("kafka: {reason}");
        }
    }

    /// The same failures again, in more words.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        tracing::debug!("kafka: {message}");
    }
}

impl ConsumerContext for ConnectionLog {}

/// Returns all topics of the brokers. Logs why none answers, and tries again some times.
pub(super) fn topics(client: &ClientConfig, n_tries: u32) -> KafkaResult<Vec<String>> {
    let consumer: BaseConsumer<_> = client.create_with_context(ConnectionLog::default())?;
    for _ in 1..n_tries {
        if let Ok(metadata) = consumer.fetch_metadata(None, ANSWER_TIMEOUT) {
            return Ok(names(&metadata));
        }
        // The client reports failures when it is polled.
        consumer.poll(REPORT_TIME);
    }
    consumer.fetch_metadata(None, ANSWER_TIMEOUT).map(|metadata| names(&metadata))
}

fn names(metadata: &Metadata) -> Vec<String> {
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

/// Returns words for failures that mean that no broker is reachable.
pub(crate) fn no_answer(error: &KafkaError) -> &'static str {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, OperationTimedOut, RequestTimedOut, Resolve,
    };
    match error.rdkafka_error_code() {
        Some(
            AllBrokersDown | BrokerTransportFailure | OperationTimedOut | RequestTimedOut | Resolve,
        ) => ": no broker answers",
        _ => "",
    }
}
