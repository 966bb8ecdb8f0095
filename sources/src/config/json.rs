//! The `json` source.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::config::checks::problems_in_time;
use crate::config::settings::{Outputs, SourceSettings};
use crate::config::{default_idle_timeout, default_max_ahead};
use crate::formats::json::{FieldType, RowDecoder, TimeField};
use crate::partitions::ingress::Ingress;
use crate::{Clock, Decoder, LinkNames, Partition, SourceContext, SourceError, Speed, Transport};

/// Settings of the `json` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// The transport of JSON objects, as lines or messages.
    pub transport: Transport,
    /// The fields to read, and their types. A field that is missing or has another type is null. Other
    /// fields are ignored.
    pub fields: BTreeMap<String, FieldType>,
    /// The field that contains the time of a row. A row without it is dropped.
    pub time: TimeField,
    /// How far rows may be out of order without being late; "0s" by default.
    #[serde(default)]
    pub max_delay: TimeSpan,
    /// How far a record's time may be ahead of its arrival, or of the opening of its file;
    /// "1m" by default. A record that is further ahead is an error, and the clock does not follow it.
    #[serde(default = "default_max_ahead")]
    pub max_ahead: TimeSpan,
    /// Time without a message after which a partition of a topic, or a socket, is idle; "30s" by
    /// default. The clock of an idle partition follows the wall clock at this distance, so it does not
    /// delay the watermark.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: TimeSpan,
    /// Speed of reading a file: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
}

impl JsonConfig {
    /// Returns the columns of the rows, ordered by name.
    pub fn columns(&self) -> SchemaRef {
        let fields = self.fields.iter().map(|(name, field_type)| {
            let data_type = match field_type {
                FieldType::Int => DataType::Int64,
                FieldType::Float => DataType::Float64,
                FieldType::Bool => DataType::Boolean,
                FieldType::Text => DataType::Utf8,
            };
            Field::new(name, data_type, true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn new_decoder(&self) -> Box<dyn Decoder> {
        Box::new(RowDecoder::new(&self.columns(), &self.time))
    }

    fn problem_of_time(&self) -> Option<String> {
        let TimeField { field, .. } = &self.time;
        match self.fields.get(field) {
            Some(FieldType::Int | FieldType::Float) => None,
            Some(_) => Some(format!("time: \"{field}\" must be of type \"int\" or \"float\"")),
            None => Some(format!("time: \"{field}\" is not among the fields")),
        }
    }
}

impl SourceSettings for JsonConfig {
    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Rows), ("errors", RecordKind::Rows)]
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.columns())
    }

    fn problems(&self) -> Vec<String> {
        let common = problems_in_time(self.max_delay, self.idle_timeout, self.speed);
        self.problem_of_time().into_iter().chain(common).collect()
    }

    fn transport(&self) -> Option<&Transport> {
        Some(&self.transport)
    }

    fn decoder(&self) -> Option<Box<dyn Decoder>> {
        Some(self.new_decoder())
    }

    fn state_shape(&self) -> String {
        self.transport.state_shape(&format!("json {:?} by {}", self.fields, self.time.field))
    }

    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        self.transport.open(&Ingress {
            context,
            by_sender: false,
            names: LinkNames::default(),
            schema: Some(self.columns()),
            speed: self.speed,
            clock: Some(Clock::Device),
            max_delay: self.max_delay,
            max_ahead: self.max_ahead,
            calendar: true,
            idle_timeout: self.idle_timeout,
            registry: None,
            decoder: &|| self.new_decoder(),
        })
    }
}
