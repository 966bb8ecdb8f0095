//! Records as messages of Kafka, and dead letters.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use schemas::{Record, Tick, error_chain};

use crate::kafka::topics::Topics;
use crate::kafka::values::Values;
use crate::message::{CloudEvents, key, n_records, times_ns};
use crate::rejected;
use crate::{SinkContext, SinkError};

/// The message is larger than the brokers or the client accept.
pub(super) const TOO_LARGE: &str = "larger than the brokers take";
/// Characters of a key and of an encoder's error that a dead letter keeps.
const DEAD_LETTER_CHARS: usize = 256;

/// Names and values.
type Headers = Vec<(&'static str, String)>;

/// A message to a topic.
pub(super) struct Message {
    topic: String,
    key: String,
    value: Vec<u8>,
    headers: Headers,
    /// Milliseconds since the Unix epoch; the broker's clock if absent.
    captured_at_ms: Option<i64>,
    /// Number of frames or rows in it.
    pub(super) n_records: usize,
    /// The reason of the rejection, if it is a dead letter.
    pub(super) rejected: Option<&'static str>,
}

impl Message {
    /// A message without headers.
    pub(super) fn plain(topic: &str, key: String, value: Vec<u8>) -> Self {
        Self {
            topic: topic.to_owned(),
            key,
            value,
            headers: Vec::new(),
            captured_at_ms: None,
            n_records: 0,
            rejected: None,
        }
    }

    /// Turns the message into a dead letter for `topic`. The value is cut in half if the message is too
    /// large, or if it is already a dead letter. Returns false if a dead letter has no value left.
    pub(super) fn reject(&mut self, topic: &str, reason: &'static str) -> bool {
        let was_rejected = self.rejected.is_some();
        if was_rejected && self.value.is_empty() {
            return false;
        }
        if was_rejected || reason == TOO_LARGE {
            halve(&mut self.value);
        }
        if !was_rejected {
            let from = std::mem::replace(&mut self.topic, topic.to_owned());
            self.headers.extend(why(from, reason));
            self.key = self.key.chars().take(DEAD_LETTER_CHARS).collect();
            self.captured_at_ms = None;
            self.rejected = Some(reason);
        }
        true
    }

    /// Bytes of key, value and headers.
    pub(super) fn len(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }

    /// Converts to the client's record. The delivery report returns `number`.
    pub(super) fn to_record(&self, number: usize) -> BaseRecord<'_, str, [u8], usize> {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        let headers = self.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::with_opaque_to(&self.topic, number);
        let record = record.key(self.key.as_str()).payload(&*self.value).headers(headers);
        match self.captured_at_ms {
            Some(captured_at_ms) => record.timestamp(captured_at_ms),
            None => record,
        }
    }
}

/// Converts the records of a sink to messages.
pub(super) struct Encoder {
    events: CloudEvents,
    values: Values,
}

impl Encoder {
    pub(super) fn new(context: &SinkContext<'_>, values: Values) -> Self {
        Self { events: CloudEvents::new(context), values }
    }

    /// Converts the records of a tick, in their order, to messages. A record that cannot be encoded
    /// becomes a dead letter.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if the schema of a record cannot be registered.
    pub(super) fn encode(
        &mut self,
        tick: Tick,
        records: &[Record],
        topics: &Topics,
    ) -> Result<Vec<Message>, SinkError> {
        let mut messages = Vec::new();
        for record in records {
            let topic = topics.of(record);
            match self.values.of(tick, &topic, record) {
                Ok(values) => {
                    for (value, happened_at_ns) in values.into_iter().zip(times_ns(record)) {
                        let headers = self.headers(tick, messages.len(), record, happened_at_ns);
                        messages.push(Message {
                            topic: topic.clone(),
                            key: key(record),
                            value,
                            headers,
                            captured_at_ms: Some(happened_at_ns.div_euclid(1_000_000).max(0)),
                            n_records: n_records(record),
                            rejected: None,
                        });
                    }
                }
                Err(error) => {
                    let Some(reason) = error.rejects() else { return Err(error) };
                    let headers = self.headers(tick, messages.len(), record, 0);
                    let mut letter = dead_letter(topic, record, headers);
                    letter.reject(topics.rejected(), reason);
                    let detail = error_chain(&error).chars().take(DEAD_LETTER_CHARS).collect();
                    letter.headers.push(("rejected_detail", detail));
                    messages.push(letter);
                }
            }
        }
        Ok(messages)
    }

    /// The attributes of the event as headers, as `CloudEvents` binds them to Kafka.
    fn headers(&self, tick: Tick, nth: usize, record: &Record, happened_at_ns: i64) -> Headers {
        let event = self.events.attributes(tick, nth, record, happened_at_ns);
        vec![
            ("content-type", self.values.content_type().to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", event.id),
            ("ce_source", event.source),
            ("ce_type", event.event_type),
            ("ce_time", event.time),
        ]
    }
}

/// The dead letter of a record that cannot be encoded: JSON, and without a time.
fn dead_letter(topic: String, record: &Record, mut headers: Headers) -> Message {
    headers.retain(|(name, _)| !["content-type", "ce_time"].contains(name));
    headers.insert(0, ("content-type", "application/json".to_owned()));
    Message {
        topic,
        key: key(record),
        value: rejected::text(record).into_bytes(),
        headers,
        captured_at_ms: None,
        n_records: record.len(),
        rejected: None,
    }
}

/// Headers with the original topic of a dead letter, and the reason.
fn why(topic: String, reason: &str) -> [(&'static str, String); 2] {
    [("rejected_topic", topic), ("rejected_reason", reason.to_owned())]
}

/// Cuts bytes in half, between characters if they are UTF-8.
fn halve(bytes: &mut Vec<u8>) {
    let is_within = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let n_left = (0..=bytes.len() / 2).rev().find(|at| !is_within(*at)).unwrap_or(0);
    bytes.truncate(n_left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_says_why_and_gets_shorter() {
        let value = "\u{e4}".repeat(50).into_bytes();
        let mut message = Message::plain("poses", "k".repeat(1000), value.clone());
        message.captured_at_ms = Some(5);
        assert!(message.reject("dead", "it is odd"));
        assert_eq!((message.topic.as_str(), message.rejected), ("dead", Some("it is odd")));
        assert_eq!((&message.value, message.key.len()), (&value, DEAD_LETTER_CHARS));
        assert_eq!(message.headers, why("poses".to_owned(), "it is odd"));
        assert_eq!(message.captured_at_ms, None, "its time may be why");
        let mut n_times = 0;
        while message.reject("dead", TOO_LARGE) {
            assert!(std::str::from_utf8(&message.value).is_ok(), "letters stay whole");
            n_times += 1;
        }
        assert!(message.value.is_empty() && n_times < 10);
        assert_eq!(message.headers.len(), 2, "the first reason is the record's");
        let mut large = Message::plain("poses", String::new(), value);
        assert!(large.reject("dead", TOO_LARGE));
        assert_eq!(large.value.len(), 50);
    }
}
