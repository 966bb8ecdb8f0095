//! How far a sink has come: notes in a compacted topic, sent in the transactions that they tell of.

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

/// How long all notes may take to come.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// A run of a pipeline, and the sink of it that speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Pipeline and name.
    pub(super) sink: String,
    /// Names the pipeline's history of checkpoints.
    pub(super) lineage: String,
    /// Grows from run to run.
    pub(super) generation: i64,
}

/// What a sink notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Note {
    #[serde(flatten)]
    run: Run,
    #[serde(flatten)]
    said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// A producer is there for a run that has not begun, told from others by the nanoseconds since the
    /// Unix epoch: a run of before may still go on.
    Opening(u64),
    /// A producer is there, the n-th of its run: all before it are shut out.
    Connection(u32),
    /// Everything before this tick is there.
    Upper(Tick),
}

/// What the notes of a sink tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Everything before this tick is there.
    pub(super) upper: Tick,
    /// True if a later run has connected since this one did.
    pub(super) taken_over: bool,
}

impl Run {
    #[expect(
        clippy::disallowed_methods,
        reason = "starts that failed are told apart by their time"
    )]
    pub(super) fn opening(&self) -> Note {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = since_epoch.unwrap_or_default().as_nanos() as u64;
        Note { run: self.clone(), said: Said::Opening(nanoseconds) }
    }

    pub(super) fn begin(&self, nth: u32) -> Note {
        Note { run: self.clone(), said: Said::Connection(nth) }
    }

    pub(super) fn progress(&self, upper: Tick) -> Note {
        Note { run: self.clone(), said: Said::Upper(upper) }
    }
}

impl Note {
    /// False for a note of a run that may never have come to take its generation.
    fn has_begun(&self) -> bool {
        !matches!(self.said, Said::Opening(_))
    }

    /// As a message; compaction keeps the newest note of each sort.
    pub(super) fn to_message(&self, topics: &Topics) -> Message {
        let sort = match self.said {
            Said::Opening(_) => "opening",
            Said::Connection(_) => "connection",
            Said::Upper(_) => "upper",
        };
        let value = serde_json::to_vec(self).expect("text and numbers are JSON");
        Message::note(topics.progress(), format!("{}/{sort}", self.run.sink), value)
    }
}

/// Reads all notes up to `begin`, which was sent when no earlier producer could send any more.
#[expect(clippy::disallowed_methods, reason = "brokers are not waited for without end")]
pub(super) fn read(client: &ClientConfig, topics: &Topics, begin: &Note) -> KafkaResult<Found> {
    let mut client = client.clone();
    client.set("group.id", &begin.run.sink).set("enable.auto.commit", "false");
    client.set("isolation.level", "read_committed");
    let consumer: BaseConsumer = client.create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topics.progress(), 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    let mut notes = Vec::new();
    let started = Instant::now();
    while started.elapsed() < READ_TIMEOUT {
        let Some(message) = consumer.poll(POLL_TIMEOUT) else { continue };
        // Whatever else is in the topic is not ours.
        let note = message?.payload().and_then(|value| serde_json::from_slice::<Note>(value).ok());
        let Some(note) = note.filter(|note| note.run.sink == begin.run.sink) else { continue };
        if note == *begin {
            return Ok(found(&notes, begin));
        }
        notes.push(note);
    }
    Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
}

/// What the notes before `begin` tell.
fn found(notes: &[Note], begin: &Note) -> Found {
    let run = &begin.run;
    let uppers = notes.iter().filter(|note| note.run.lineage == run.lineage);
    let uppers = uppers.filter_map(|note| match note.said {
        Said::Upper(upper) => Some(upper),
        Said::Opening(_) | Said::Connection(_) => None,
    });
    let since = match begin.said {
        Said::Connection(nth) if nth > 0 => {
            notes.iter().position(|note| note.run == *run && note.has_begun()).unwrap_or(0)
        }
        // Runs of before are what the first connection is to take over from.
        _ => notes.len(),
    };
    let is_later = |note: &Note| note.run.generation > run.generation && note.has_begun();
    let taken_over = notes[since..].iter().any(is_later);
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
        let notes =
            [old.begin(0), old.progress(900), mine.begin(0), mine.progress(10), mine.progress(20)];
        let told = |notes: &[Note], begin| {
            let found = found(notes, &begin);
            (found.upper, found.taken_over)
        };
        assert_eq!(told(&notes, mine.begin(1)), (20, false), "its own");
        assert_eq!(told(&notes, next.begin(0)), (20, false), "a run that goes on");
        assert_eq!(told(&notes, run("c", 6).begin(0)), (0, false), "a run that starts anew");
        assert_eq!(told(&notes, run("c", 1).begin(0)), (0, false), "with a store of its own");
        let notes = [&notes[..], &[next.begin(0)]].concat();
        assert_eq!(told(&notes, mine.begin(1)), (20, true), "a run that slept");
        assert_eq!(told(&notes, next.begin(1)), (20, false), "its successor after that");
        let opening = [mine.begin(0), mine.progress(10), next.opening()];
        assert_eq!(told(&opening, mine.begin(1)), (10, false), "the next has not begun");
        assert_eq!(told(&opening, next.begin(0)), (10, false), "it begins");
        let json = serde_json::to_string(&mine.progress(20)).expect("it is JSON");
        assert_eq!(json, r#"{"sink":"flat/out","lineage":"b","generation":5,"upper":20}"#);
    }
}
