//! The progress of a sink: records in a compacted topic, written in the same transactions as the messages.

use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use schemas::Tick;
use serde::{Deserialize, Serialize};

use crate::kafka::message::Message;
use crate::kafka::topics::Topics;

/// Time-out of reading all records.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// A sink of a run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Pipeline and name of the sink.
    pub(super) sink: String,
    /// The name of the pipeline's history of checkpoints.
    pub(super) lineage: String,
    /// The number of the run, which grows with each run.
    pub(super) generation: i64,
}

/// A record of the progress topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct ProgressRecord {
    #[serde(flatten)]
    run: Run,
    #[serde(flatten)]
    event: ProgressEvent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProgressEvent {
    /// A run opens its producer and has not begun: an earlier run may continue. Nanoseconds since the
    /// Unix epoch distinguish it from other openings.
    Opening(u64),
    /// The n-th producer of a run has begun, and fences all before it.
    Connection(u32),
    /// The topics have everything before this tick.
    Upper(Tick),
}

/// The progress of a sink, from its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The topics have everything before this tick.
    pub(super) upper: Tick,
    /// True if a later run has connected since this one did.
    pub(super) taken_over: bool,
}

impl Run {
    #[expect(
        clippy::disallowed_methods,
        reason = "starts that failed are told apart by their time"
    )]
    pub(super) fn opening(&self) -> ProgressRecord {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since_epoch.unwrap_or_default().as_nanos() as u64;
        ProgressRecord { run: self.clone(), event: ProgressEvent::Opening(nanoseconds) }
    }

    pub(super) fn begin(&self, nth: u32) -> ProgressRecord {
        ProgressRecord { run: self.clone(), event: ProgressEvent::Connection(nth) }
    }

    pub(super) fn progress(&self, upper: Tick) -> ProgressRecord {
        ProgressRecord { run: self.clone(), event: ProgressEvent::Upper(upper) }
    }
}

impl ProgressRecord {
    /// False for the opening of a run that may never have taken its generation.
    fn has_begun(&self) -> bool {
        !matches!(self.event, ProgressEvent::Opening(_))
    }

    /// Converts to a message. Compaction keeps the newest record of each sort.
    pub(super) fn to_message(&self, topics: &Topics) -> Message {
        let sort = match self.event {
            ProgressEvent::Opening(_) => "opening",
            ProgressEvent::Connection(_) => "connection",
            ProgressEvent::Upper(_) => "upper",
        };
        let value = serde_json::to_vec(self).expect("text and numbers are JSON");
        Message::plain(topics.progress(), format!("{}/{sort}", self.run.sink), value)
    }
}

/// Reads all records up to `begin`, which was sent after all earlier producers were fenced.
#[expect(clippy::disallowed_methods, reason = "brokers are not waited for without end")]
pub(super) fn read(
    client: &ClientConfig,
    topics: &Topics,
    begin: &ProgressRecord,
) -> KafkaResult<Found> {
    let mut client = client.clone();
    client.set("group.id", &begin.run.sink).set("enable.auto.commit", "false");
    client.set("isolation.level", "read_committed");
    let consumer: BaseConsumer = client.create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topics.progress(), 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    let mut records = Vec::new();
    let started = Instant::now();
    while started.elapsed() < READ_TIMEOUT {
        let Some(message) = consumer.poll(POLL_TIMEOUT) else { continue };
        // Ignores records of other sinks, and messages that are not records.
        let record = message?
            .payload()
            .and_then(|value| serde_json::from_slice::<ProgressRecord>(value).ok());
        let Some(record) = record.filter(|record| record.run.sink == begin.run.sink) else {
            continue;
        };
        if record == *begin {
            return Ok(found(&records, begin));
        }
        records.push(record);
    }
    Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
}

/// Returns the progress from the records before `begin`.
fn found(records: &[ProgressRecord], begin: &ProgressRecord) -> Found {
    let run = &begin.run;
    let uppers = records.iter().filter(|record| record.run.lineage == run.lineage);
    let uppers = uppers.filter_map(|record| match record.event {
        ProgressEvent::Upper(upper) => Some(upper),
        ProgressEvent::Opening(_) | ProgressEvent::Connection(_) => None,
    });
    let since = match begin.event {
        ProgressEvent::Connection(nth) if nth > 0 => {
            records.iter().position(|record| record.run == *run && record.has_begun()).unwrap_or(0)
        }
        // The first connection takes over from earlier runs: their records do not fence this run.
        _ => records.len(),
    };
    let is_later =
        |record: &ProgressRecord| record.run.generation > run.generation && record.has_begun();
    let taken_over = records[since..].iter().any(is_later);
    Found { upper: uppers.max().unwrap_or(0), taken_over }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lineage: &str, generation: i64) -> Run {
        Run { sink: "flat/out".into(), lineage: lineage.into(), generation }
    }

    #[test]
    fn notes_tell_how_far_and_who() {
        let (old, mine, next) = (run("a", 4), run("b", 5), run("b", 6));
        let records =
            [old.begin(0), old.progress(900), mine.begin(0), mine.progress(10), mine.progress(20)];
        let told = |records: &[ProgressRecord], begin| {
            let found = found(records, &begin);
            (found.upper, found.taken_over)
        };
        assert_eq!(told(&records, mine.begin(1)), (20, false), "its own");
        assert_eq!(told(&records, next.begin(0)), (20, false), "a run that goes on");
        assert_eq!(told(&records, run("c", 6).begin(0)), (0, false), "a run that starts anew");
        assert_eq!(told(&records, run("c", 1).begin(0)), (0, false), "with a store of its own");
        let records = [&records[..], &[next.begin(0)]].concat();
        assert_eq!(told(&records, mine.begin(1)), (20, true), "a run that slept");
        assert_eq!(told(&records, next.begin(1)), (20, false), "its successor after that");
        let opening = [mine.begin(0), mine.progress(10), next.opening()];
        assert_eq!(told(&opening, mine.begin(1)), (10, false), "the next has not begun");
        assert_eq!(told(&opening, next.begin(0)), (10, false), "it begins");
        let json = serde_json::to_string(&mine.progress(20)).expect("it is JSON");
        assert_eq!(json, r#"{"sink":"flat/out","lineage":"b","generation":5,"upper":20}"#);
    }
}
