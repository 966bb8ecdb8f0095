//! The values of messages: JSON, or Avro by a schema that a registry knows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::schema::{
    AVRO_NAME_METADATA_KEY, AVRO_NAMESPACE_METADATA_KEY, AvroSchema, FingerprintStrategy,
};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::SinkError;
use crate::kafka::registry::Registry;

/// What the names of schemas begin with.
const NAMESPACE: &str = "dev.fresnel";

/// How values are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueFormat {
    /// As JSON.
    #[default]
    Json,
    /// As Avro, each behind a zero byte and the number of its schema, as consumers of a schema registry
    /// expect. The schema is that of the record's table.
    Avro {
        /// URL of the registry, which speaks Confluent's API.
        registry: String,
    },
}

/// Writes values.
pub(super) enum Values {
    Json,
    Avro(Avro),
}

/// Knows the schemas of topics.
pub(super) struct Avro {
    registry: Registry,
    /// By topic; made at its first record.
    encoders: BTreeMap<String, (SchemaRef, Encoder)>,
}

impl Values {
    pub(super) fn new(format: &ValueFormat) -> Self {
        match format {
            ValueFormat::Json => Self::Json,
            ValueFormat::Avro { registry } => {
                Self::Avro(Avro { registry: Registry::new(registry), encoders: BTreeMap::new() })
            }
        }
    }

    /// What headers call it.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro(_) => "application/avro",
        }
    }

    /// The values of a record: one, or one for each row.
    pub(super) fn of(
        &mut self,
        tick: Tick,
        topic: &str,
        record: &Record,
    ) -> Result<Vec<Vec<u8>>, SinkError> {
        match self {
            Self::Json => {
                let mut lines = Vec::new();
                let written = record.write_json_lines(&mut lines);
                written.map_err(|source| SinkError::Encode { tick, source })?;
                let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                Ok(lines.map(<[u8]>::to_vec).collect())
            }
            Self::Avro(avro) => avro.of(topic, record),
        }
    }
}

impl Avro {
    fn of(&mut self, topic: &str, record: &Record) -> Result<Vec<Vec<u8>>, SinkError> {
        let batch = Record::to_batch(std::slice::from_ref(record));
        let batch =
            batch.map_err(|source| SinkError::Columns { topic: topic.to_owned(), source })?;
        let encoder = self.encoder(topic, &batch, &record.table())?;
        encoder.encode(&batch).map_err(|error| failed(topic, error))?;
        Ok(encoder.flush().iter().map(|row| row.to_vec()).collect())
    }

    /// The encoder of a topic, for values of these columns.
    fn encoder(
        &mut self,
        topic: &str,
        batch: &RecordBatch,
        name: &str,
    ) -> Result<&mut Encoder, SinkError> {
        let known = self.encoders.get(topic).is_some_and(|(schema, _)| *schema == batch.schema());
        if !known {
            let encoder = self.register(topic, &batch.schema(), name)?;
            self.encoders.insert(topic.to_owned(), (batch.schema(), encoder));
        }
        let (_, encoder) =
            self.encoders.get_mut(topic).expect("it was inserted if it was not there");
        Ok(encoder)
    }

    fn register(&self, topic: &str, schema: &SchemaRef, name: &str) -> Result<Encoder, SinkError> {
        let names = [(AVRO_NAME_METADATA_KEY, name), (AVRO_NAMESPACE_METADATA_KEY, NAMESPACE)];
        let names = names.map(|(key, name)| (key.to_owned(), name.to_owned()));
        let schema = Schema::new_with_metadata(schema.fields().clone(), names.into());
        let avro = AvroSchema::try_from(&schema).map_err(|error| failed(topic, error))?;
        let number = self.registry.register(topic, &avro.json_string);
        let number = number.map_err(|source| SinkError::Registry { source })?;
        WriterBuilder::new(schema)
            .with_fingerprint_strategy(FingerprintStrategy::Id(number))
            .build_encoder::<AvroSoeFormat>()
            .map_err(|error| failed(topic, error))
    }
}

fn failed(topic: &str, error: impl Into<ArrowError>) -> SinkError {
    SinkError::Avro { topic: topic.to_owned(), source: error.into() }
}
