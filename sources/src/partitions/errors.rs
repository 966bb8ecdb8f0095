//! Undecodable records as rows: the stream `NAME.errors` of a source.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemas::{Record, Tick};

use crate::partitions::rows::{OpenRows, Table};
use crate::{Row, Value};

/// The columns: source, partition and offset of the records, drop reason, and number of records.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |name, data_type| Field::new(name, data_type, true);
        Arc::new(Schema::new(vec![
            field("source", DataType::Utf8),
            field("partition", DataType::Utf8),
            field("offset", DataType::Int64),
            field("reason", DataType::Utf8),
            field("n_records", DataType::Int64),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The errors of one partition.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) source: String,
    pub(crate) partition: String,
    pub(crate) rows: OpenRows,
}

impl Errors {
    pub(crate) fn new(source: &str, partition: &str) -> Self {
        let rows = OpenRows::new(Table {
            stream: format!("{source}.errors"),
            partition: partition.to_owned(),
            schema: schema(),
        });
        Self { source: source.to_owned(), partition: partition.to_owned(), rows }
    }

    /// No errors so far, for another partition of the source.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        Self::new(&self.source, partition)
    }

    /// Adds a row for dropped records, at the partition's clock. If the partition has no name, `device` is
    /// its name. `earlier` are pending records.
    pub(crate) fn push(
        &mut self,
        clock: Tick,
        device: &str,
        (reason, n_records, offset): (&str, u64, u64),
        earlier: &[(Tick, Record)],
    ) {
        let named = if self.partition.is_empty() { device } else { &self.partition };
        let text = [&self.source, named, reason].concat();
        let (partition, reason) = (self.source.len(), self.source.len() + named.len());
        let values = [
            Value::Text(0, partition),
            Value::Text(partition, reason),
            Value::Int(offset.cast_signed()),
            Value::Text(reason, text.len()),
            Value::Int(n_records.cast_signed()),
        ];
        let clock_ns = clock.cast_signed().saturating_mul(1_000_000);
        self.rows.push(clock, clock_ns, Row { values: &values, text: &text }, earlier);
    }
}
