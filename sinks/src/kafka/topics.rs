//! Which topic a record goes to.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use schemas::RecordKind;

/// What the broker would choose.
const BROKER_DEFAULT: i32 = -1;
const CREATE_TIMEOUT: Duration = Duration::from_secs(15);

/// The names of a sink's topics.
pub(super) struct Topics {
    progress: String,
    of_records: Vec<String>,
}

impl Topics {
    /// One topic for all, or one for each kind of record.
    pub(super) fn new(topic: Option<&str>, prefix: &str) -> Self {
        let of_records = RecordKind::ALL.map(|kind| match topic {
            Some(topic) => topic.to_owned(),
            None => format!("{prefix}.{}.v1", stem(kind)),
        });
        Self { progress: format!("{prefix}.progress"), of_records: of_records.into() }
    }

    /// The topic of how far sinks have come.
    pub(super) fn progress(&self) -> &str {
        &self.progress
    }

    /// The topic of a kind of record.
    pub(super) fn of(&self, kind: RecordKind) -> &str {
        &self.of_records[kind as usize]
    }

    /// Makes those that are not there.
    pub(super) fn create(&self, client: &ClientConfig) -> KafkaResult<()> {
        let progress = NewTopic::new(&self.progress, 1, TopicReplication::Fixed(BROKER_DEFAULT))
            // Small, so that it is read fast at the start.
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "1048576")
            .set("min.cleanable.dirty.ratio", "0.1");
        let mut names = self.of_records.clone();
        names.sort_unstable();
        names.dedup();
        let of_records = names.iter().map(|name| {
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

/// What the topics, and the types of events, call a kind of record.
pub(super) fn stem(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Csi => "csi.frames",
        RecordKind::Pose => "pose.frames",
        RecordKind::Presence => "presence",
        RecordKind::Occupancy => "zones.occupancy",
        RecordKind::Activity => "activity.windows",
        RecordKind::Event => "events",
    }
}
