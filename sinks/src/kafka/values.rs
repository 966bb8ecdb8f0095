//! The values of messages: JSON, or Avro or Protobuf with a schema in a registry.

use std::collections::BTreeMap;

use registry::{Registry, SchemaType};
use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::SinkError;
use crate::kafka::avro::Avro;
use crate::kafka::protobuf::MessageType;

/// The encoding of values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueFormat {
    /// JSON.
    #[default]
    Json,
    /// Avro. Each value starts with a zero byte and the id of its schema, as consumers of a schema
    /// registry expect. The schema is that of the record's table.
    Avro {
        /// URL of a schema registry with Confluent's API.
        registry: String,
    },
    /// Protobuf. Each value starts with a zero byte, the id of its schema and the index of its message
    /// in the schema. The message is that of the record's table.
    Protobuf {
        /// URL of a schema registry with Confluent's API.
        registry: String,
    },
}

/// Encodes values.
pub(super) enum Values {
    Json,
    Avro(Avro),
    Protobuf(Protobuf),
}

/// The Protobuf encoder, with the message types of topics.
pub(super) struct Protobuf {
    registry: Registry,
    /// Message types and the ids of their schemas, by topic and table; registered at the first record.
    types: BTreeMap<(String, String), (u32, MessageType)>,
}

impl Values {
    pub(super) fn new(format: &ValueFormat) -> Self {
        match format {
            ValueFormat::Json => Self::Json,
            ValueFormat::Avro { registry } => Self::Avro(Avro::new(registry)),
            ValueFormat::Protobuf { registry } => Self::Protobuf(Protobuf {
                registry: Registry::new(registry),
                types: BTreeMap::new(),
            }),
        }
    }

    /// Returns the value of the `content-type` header.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro(_) => "application/avro",
            Self::Protobuf(_) => "application/protobuf",
        }
    }

    /// Encodes a record: as one value, or as one for each row.
    pub(super) fn of(
        &mut self,
        tick: Tick,
        topic: &str,
        record: &Record,
    ) -> Result<Vec<Vec<u8>>, SinkError> {
        match self {
            Self::Json => lines(tick, record),
            Self::Avro(avro) => avro.values(topic, record),
            Self::Protobuf(protobuf) => protobuf.values(tick, topic, record),
        }
    }
}

/// Encodes a record as lines of JSON.
fn lines(tick: Tick, record: &Record) -> Result<Vec<Vec<u8>>, SinkError> {
    let mut lines = Vec::new();
    record.write_json_lines(&mut lines).map_err(|source| SinkError::Encode { tick, source })?;
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}

impl Protobuf {
    fn values(
        &mut self,
        tick: Tick,
        topic: &str,
        record: &Record,
    ) -> Result<Vec<Vec<u8>>, SinkError> {
        let key = (topic.to_owned(), record.table().into_owned());
        if !self.types.contains_key(&key) {
            let registered = self.register(topic, record)?;
            self.types.insert(key.clone(), registered);
        }
        let (number, message_type) = &self.types[&key];
        let values = lines(tick, record)?.into_iter().map(|line| {
            let message = message_type.encode(&line);
            let message = message.map_err(|source| SinkError::Encode { tick, source })?;
            // The message is the first of its schema: its index is another zero.
            Ok([&[0][..], &number.to_be_bytes(), &[0], &message].concat())
        });
        values.collect()
    }

    fn register(&self, topic: &str, record: &Record) -> Result<(u32, MessageType), SinkError> {
        let schema = match record {
            Record::Rows(rows) => rows.schema(),
            record => record.kind().arrow_schema(),
        };
        let message_type = MessageType::of_table(&record.table(), schema.fields());
        let message_type =
            message_type.ok_or_else(|| SinkError::Protobuf { topic: topic.to_owned() })?;
        let number = self.registry.register(topic, SchemaType::Protobuf, &message_type.text);
        Ok((number.map_err(|source| SinkError::Registry { source })?, message_type))
    }
}
