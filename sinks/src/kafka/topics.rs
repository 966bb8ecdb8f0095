//! The topic of each record.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use schemas::{Record, RecordKind};

use crate::kafka::connection::{self, ConnectionLog};
use crate::message::{self, name_of};

/// The broker's default.
const BROKER_DEFAULT: i32 = -1;
/// The longest name that brokers accept.
const MAX_TOPIC_BYTES: usize = 249;
const CREATE_TIMEOUT: Duration = Duration::from_secs(15);

/// The names of a sink's topics.
pub(super) struct Topics {
    /// The topic of all records, if the pipeline names one.
    topic: Option<String>,
    prefix: String,
    progress: String,
    rejected: String,
    /// The topics of the sink's inputs.
    needed: BTreeSet<String>,
}

impl Topics {
    /// One topic for all, or one for each kind of record.
    pub(super) fn new(
        topic: Option<String>,
        prefix: &str,
        inputs: &[(String, RecordKind)],
    ) -> Self {
        let (prefix, progress) = (prefix.to_owned(), format!("{prefix}.progress"));
        let rejected = format!("{}.rejected", topic.as_ref().unwrap_or(&prefix));
        let mut topics = Self { topic, prefix, progress, rejected, needed: BTreeSet::new() };
        let names = inputs.iter().map(|(stream, kind)| topics.name(name_of(*kind, stream)));
        topics.needed = names.collect();
        topics
    }

    /// The topic of the progress of sinks.
    pub(super) fn progress(&self) -> &str {
        &self.progress
    }

    /// The topic of dead letters.
    pub(super) fn rejected(&self) -> &str {
        &self.rejected
    }

    /// The topic of a record.
    pub(super) fn of(&self, record: &Record) -> String {
        self.name(message::name(record))
    }

    fn is_of_records(&self, topic: &str) -> bool {
        let of_kind = |rest: &str| rest.starts_with('.') && rest.strip_suffix(".v1").is_some();
        match &self.topic {
            Some(name) => name == topic,
            None => topic.strip_prefix(&self.prefix).is_some_and(of_kind),
        }
    }

    fn name(&self, name: &str) -> String {
        self.topic.clone().unwrap_or_else(|| format!("{}.{name}.v1", self.prefix))
    }

    /// Returns true if brokers have a topic of these records already.
    pub(super) fn exist(&self, client: &ClientConfig) -> KafkaResult<bool> {
        let topics = connection::topics(client)?;
        Ok(topics.iter().any(|topic| self.is_of_records(topic)))
    }

    /// Creates missing topics.
    pub(super) fn create(&self, client: &ClientConfig, log: &ConnectionLog) -> KafkaResult<()> {
        connection::reach(client, &self.progress, log)?;
        let progress = NewTopic::new(&self.progress, 1, TopicReplication::Fixed(BROKER_DEFAULT))
            // Small segments, so that the start reads the topic fast.
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "1048576")
            .set("min.cleanable.dirty.ratio", "0.1");
        let of_records = self.needed.iter().chain([&self.rejected]).map(|name| {
            NewTopic::new(name, BROKER_DEFAULT, TopicReplication::Fixed(BROKER_DEFAULT))
        });
        let topics: Vec<_> = of_records.chain([progress]).collect();
        let admin: AdminClient<DefaultClientContext> = client.create()?;
        let options = AdminOptions::new().request_timeout(Some(CREATE_TIMEOUT));
        let made = futures::executor::block_on(admin.create_topics(&topics, &options))?;
        let refused = made.into_iter().filter_map(Result::err).map(|(_, code)| code);
        match refused.into_iter().find(|code| *code != RDKafkaErrorCode::TopicAlreadyExists) {
            Some(code) => Err(KafkaError::AdminOp(code)),
            None => Ok(()),
        }
    }
}

/// Rejects names that brokers do not accept as a topic, or as part of one.
pub(super) fn name_mistake(setting: &str, name: &str) -> Option<String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let is_name = (1..=MAX_TOPIC_BYTES).contains(&name.len()) && name.chars().all(allowed);
    (!is_name || [".", ".."].contains(&name)).then(|| {
        format!(
            "{setting} must be 1 to {MAX_TOPIC_BYTES} letters, digits, \".\", \"_\" and \"-\", not \
             \"{name}\""
        )
    })
}
