//! A record as a message, the same in every sink that sends messages: its name, its key, its times and its
//! `CloudEvents` attributes.
//!
//! Source: `CloudEvents` 1.0.2, section 3.1, "Required Attributes".

use chrono::{DateTime, SecondsFormat};
use schemas::{Record, RecordKind, Tick};

use crate::SinkContext;

/// The name of a record in topics and in the types of events.
pub(crate) fn name(record: &Record) -> &str {
    match record {
        Record::Rows(rows) => &rows.stream,
        record => name_of(record.kind(), ""),
    }
}

/// The name of the records of a stream; rows have the name of their stream.
pub(crate) fn name_of(kind: RecordKind, stream: &str) -> &str {
    kind.topic().unwrap_or(stream)
}

/// Messages about the same subject have the same key, so that they stay in order.
pub(crate) fn key(record: &Record) -> String {
    match record {
        Record::Csi(batch) => batch.link.name(),
        Record::Pose(frame) => frame.source.clone(),
        Record::Presence(presence) => presence.link.clone(),
        Record::Occupancy(occupancy) => occupancy.zone.clone(),
        Record::Activity(window) => window.subject.clone(),
        Record::Event(event) => event.subject.clone(),
        Record::Rows(rows) => rows.partition.clone(),
        Record::Video(frame) => frame.source.clone(),
    }
}

/// The event times of a record in nanoseconds, one for each of its messages.
pub(crate) fn times_ns(record: &Record) -> Vec<i64> {
    match record {
        Record::Rows(rows) => rows.times_ns.clone(),
        record => vec![record.order_key().0.0],
    }
}

/// Number of frames or rows in each message of a record.
pub(crate) fn n_records(record: &Record) -> usize {
    if matches!(record, Record::Rows(_)) { 1 } else { record.len() }
}

/// The attributes of an event.
pub(crate) struct Attributes {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) event_type: String,
    /// In RFC 3339.
    pub(crate) time: String,
}

/// Gives the messages of one sink their attributes.
#[derive(Clone, Debug)]
pub(crate) struct CloudEvents {
    /// Pipeline and sink; event ids are unique within it.
    source: String,
}

impl CloudEvents {
    pub(crate) fn new(context: &SinkContext<'_>) -> Self {
        Self { source: format!("/fresnel/{}/{}", context.pipeline, context.name) }
    }

    /// The attributes of the `nth` message of a tick. A replay of the same input produces the same id.
    pub(crate) fn attributes(
        &self,
        tick: Tick,
        nth: usize,
        record: &Record,
        happened_at_ns: i64,
    ) -> Attributes {
        let id = match record {
            Record::Event(event) => event.id.0.clone(),
            _ => format!("{tick}-{nth}"),
        };
        let time = DateTime::from_timestamp_nanos(happened_at_ns);
        Attributes {
            id,
            source: self.source.clone(),
            event_type: format!("dev.fresnel.{}.v1", name(record)),
            time: time.to_rfc3339_opts(SecondsFormat::Nanos, true),
        }
    }
}
