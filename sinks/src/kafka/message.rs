//! A record as a message: its key, its value, and headers as `CloudEvents` has them.

use chrono::{DateTime, SecondsFormat};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use schemas::{Record, Tick};

use crate::SinkError;
use crate::kafka::topics::{Topics, stem};

/// What is sent.
pub(super) struct Message {
    topic: String,
    key: String,
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    /// Milliseconds since the Unix epoch; the broker's clock if absent.
    captured_at_ms: Option<i64>,
}

impl Message {
    /// A message without headers.
    pub(super) fn note(topic: &str, key: String, value: Vec<u8>) -> Self {
        Self { topic: topic.to_owned(), key, value, headers: Vec::new(), captured_at_ms: None }
    }

    /// Bytes of what it carries.
    pub(super) fn len(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }

    /// As the client has it.
    pub(super) fn to_record(&self) -> BaseRecord<'_, str, [u8]> {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        let headers = self.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::to(&self.topic).key(self.key.as_str()).payload(&*self.value);
        let record = record.headers(headers);
        match self.captured_at_ms {
            Some(captured_at_ms) => record.timestamp(captured_at_ms),
            None => record,
        }
    }
}

/// Wraps the records of a sink.
pub(super) struct Envelope {
    /// Names the pipeline and the sink; ids are unique in it.
    source: String,
}

impl Envelope {
    pub(super) fn new(pipeline: &str, sink: &str) -> Self {
        Self { source: format!("/fresnel/{pipeline}/{sink}") }
    }

    /// Turns the records of a tick, which are in their order, into messages.
    ///
    /// # Errors
    ///
    /// [`SinkError::Encode`] if a record is no JSON.
    pub(super) fn wrap(
        &self,
        tick: Tick,
        records: &[Record],
        topics: &Topics,
    ) -> Result<Vec<Message>, SinkError> {
        let messages = records.iter().enumerate().map(|(nth, record)| {
            let value = serde_json::to_vec(record);
            let value = value.map_err(|source| SinkError::Encode { tick, source })?;
            let captured_at_ns = record.order_key().0.0;
            Ok(Message {
                topic: topics.of(record.kind()).to_owned(),
                key: key(record),
                value,
                headers: self.headers(tick, nth, record),
                captured_at_ms: Some(captured_at_ns.div_euclid(1_000_000).max(0)),
            })
        });
        messages.collect()
    }

    /// The attributes of the event. The id is the same whenever the same input is replayed.
    fn headers(&self, tick: Tick, nth: usize, record: &Record) -> Vec<(&'static str, String)> {
        let id = match record {
            Record::Event(event) => event.id.0.clone(),
            _ => format!("{tick}-{nth}"),
        };
        let time = DateTime::from_timestamp_nanos(record.order_key().0.0);
        vec![
            ("content-type", "application/json".to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", id),
            ("ce_source", self.source.clone()),
            ("ce_type", format!("dev.fresnel.{}.v1", stem(record.kind()))),
            ("ce_time", time.to_rfc3339_opts(SecondsFormat::Nanos, true)),
        ]
    }
}

/// Messages about the same thing have the same key, so that they stay in order.
fn key(record: &Record) -> String {
    match record {
        Record::Csi(batch) => format!("{}/{}", batch.link.receiver, batch.link.transmitter),
        Record::Pose(frame) => frame.source.clone(),
        Record::Presence(presence) => presence.link.clone(),
        Record::Occupancy(occupancy) => occupancy.zone.clone(),
        Record::Activity(window) => window.subject.clone(),
        Record::Event(event) => event.subject.clone(),
    }
}
