//! Connections of a client: logs their failures, and lists the topics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

/// Time in which the client reports its failures.
const REPORT_TIME: Duration = Duration::from_millis(100);
/// Time-outs of a broker's answer, one for each attempt.
const PATIENCE: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// Logs each failure of the connections of a sink once, until the sink commits again.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionLog {
    logged: Arc<Mutex<Vec<RDKafkaErrorCode>>>,
}

impl ConnectionLog {
    /// Logs further failures again.
    pub(super) fn reset(&self) {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn is_new(&self, code: RDKafkaErrorCode) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !logged.contains(&code);
        if is_new {
            logged.push(code);
        }
        is_new
    }
}

impl ClientContext for ConnectionLog {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code().is_some_and(|code| self.is_new(code)) {
            tracing::warn!("kafka: {reason}");
        }
    }

    /// The same failures again, in more words.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        tracing::debug!("kafka: {message}");
    }
}

impl ConsumerContext for ConnectionLog {}

/// Waits for an answer about a topic, and logs why there is none.
pub(super) fn reach(client: &ClientConfig, topic: &str, log: &ConnectionLog) -> KafkaResult<()> {
    let consumer: BaseConsumer<_> = client.create_with_context(log.clone())?;
    let mut result = Ok(());
    for patience in PATIENCE {
        result = consumer.fetch_metadata(Some(topic), patience).map(|_| ());
        if result.is_ok() {
            break;
        }
        // The client reports failures when it is polled.
        consumer.poll(REPORT_TIME);
    }
    result
}

/// Returns the names of all topics.
pub(super) fn topics(client: &ClientConfig) -> KafkaResult<Vec<String>> {
    let consumer: BaseConsumer<_> = client.create_with_context(ConnectionLog::default())?;
    let metadata = consumer.fetch_metadata(None, PATIENCE[0])?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

/// Returns words for failures that mean that no broker is reachable.
pub(crate) fn no_answer(error: &KafkaError) -> &'static str {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    match error.rdkafka_error_code() {
        Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve) => {
            ": no broker answers"
        }
        _ => "",
    }
}
