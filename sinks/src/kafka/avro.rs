//! Records as Avro, by the schema of their table.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::schema::{
    AVRO_NAME_METADATA_KEY, AVRO_NAMESPACE_METADATA_KEY, AvroSchema, FingerprintStrategy,
};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use registry::{Registry, SchemaType};
use schemas::Record;

use crate::SinkError;

/// The prefix of the names of schemas.
const NAMESPACE: &str = "dev.fresnel";

/// The Avro encoders of topics.
pub(super) struct Avro {
    registry: Registry,
    /// By topic and table; created at the first record.
    encoders: BTreeMap<(String, String), Encoder>,
}

impl Avro {
    pub(super) fn new(registry: &str) -> Self {
        Self { registry: Registry::new(registry), encoders: BTreeMap::new() }
    }

    /// Encodes a record: as one value, or as one for each row.
    pub(super) fn values(
        &mut self,
        topic: &str,
        record: &Record,
    ) -> Result<Vec<Vec<u8>>, SinkError> {
        let batch = Record::to_batch(std::slice::from_ref(record));
        let batch =
            batch.map_err(|source| SinkError::Columns { topic: topic.to_owned(), source })?;
        let encoder = self.encoder(topic, &batch.schema(), &record.table())?;
        let encoded = encoder.encode(&batch);
        // Flushed in any case: rows of a failed record must not stay for the next record.
        let rows = encoder.flush();
        encoded
            .map_err(|error| SinkError::Value { topic: topic.to_owned(), source: error.into() })?;
        Ok(rows.iter().map(|row| row.to_vec()).collect())
    }

    fn encoder(
        &mut self,
        topic: &str,
        schema: &SchemaRef,
        table: &str,
    ) -> Result<&mut Encoder, SinkError> {
        let key = (topic.to_owned(), table.to_owned());
        if !self.encoders.contains_key(&key) {
            let encoder = self.register(topic, schema, table)?;
            self.encoders.insert(key.clone(), encoder);
        }
        Ok(self.encoders.get_mut(&key).expect("it was inserted if it was not there"))
    }

    fn register(&self, topic: &str, schema: &SchemaRef, name: &str) -> Result<Encoder, SinkError> {
        let names = [(AVRO_NAME_METADATA_KEY, name), (AVRO_NAMESPACE_METADATA_KEY, NAMESPACE)];
        let names = names.map(|(key, name)| (key.to_owned(), name.to_owned()));
        let schema = Schema::new_with_metadata(schema.fields().clone(), names.into());
        let avro = AvroSchema::try_from(&schema).map_err(|error| failed(topic, error))?;
        let number = self.registry.register(topic, SchemaType::Avro, &avro.json_string);
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
