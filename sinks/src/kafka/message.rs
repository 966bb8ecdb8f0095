//! A record as a message: its key, its value, and headers as `CloudEvents` has them.

use chrono::{DateTime, SecondsFormat};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use schemas::{Record, Tick};

use crate::kafka::topics::{Topics, stem_of};
use crate::kafka::values::Values;
use crate::{SinkContext, SinkError};

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
    values: Values,
}

impl Envelope {
    pub(super) fn new(context: &SinkContext<'_>, values: Values) -> Self {
        Self { source: format!("/fresnel/{}/{}", context.pipeline, context.name), values }
    }

    /// Turns the records of a tick, which are in their order, into messages.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if a record has no form as a value, or its schema has no number.
    pub(super) fn wrap(
        &mut self,
        tick: Tick,
        records: &[Record],
        topics: &Topics,
    ) -> Result<Vec<Message>, SinkError> {
        let mut messages = Vec::new();
        for record in records {
            let topic = topics.of(record);
            let values = self.values.of(tick, &topic, record)?;
            for (value, happened_at_ns) in values.into_iter().zip(times(record)) {
                messages.push(Message {
                    topic: topic.clone(),
                    key: key(record),
                    value,
                    headers: self.headers(tick, messages.len(), record, happened_at_ns),
                    captured_at_ms: Some(happened_at_ns.div_euclid(1_000_000).max(0)),
                });
            }
        }
        Ok(messages)
    }

    /// The attributes of the event. The id is the same whenever the same input is replayed.
    fn headers(
        &self,
        tick: Tick,
        nth: usize,
        record: &Record,
        happened_at_ns: i64,
    ) -> Vec<(&'static str, String)> {
        let id = match record {
            Record::Event(event) => event.id.0.clone(),
            _ => format!("{tick}-{nth}"),
        };
        let time = DateTime::from_timestamp_nanos(happened_at_ns);
        vec![
            ("content-type", self.values.content_type().to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", id),
            ("ce_source", self.source.clone()),
            ("ce_type", format!("dev.fresnel.{}.v1", stem_of(record))),
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
        Record::Rows(rows) => rows.partition.clone(),
    }
}

/// When what a record tells happened: one time for each of its lines.
fn times(record: &Record) -> Vec<i64> {
    match record {
        Record::Rows(rows) => rows.times_ns.clone(),
        record => vec![record.order_key().0.0],
    }
}
