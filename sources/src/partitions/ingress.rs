//! Settings for reading the bytes of a transport.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use schemas::{SourceKind, TimeSpan};
use serde::Deserialize;

use crate::partitions::rows::Table;
use crate::{Collector, Decoder, LinkNames, SourceContext, Speed};

/// The clock of capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's clock. It has any origin and may jump; wraps are corrected.
    Device,
    /// The device's clock, corrected. The frame counter shows jumps, and the clock follows the arrival time
    /// if it is known. With several devices, records wait for the slowest device, 0.2 s at most.
    Aligned,
    /// The arrival time of the bytes; with Kafka, the timestamp of the message.
    Arrival,
}

/// The settings for reading the bytes of a transport.
pub(crate) struct Ingress<'a> {
    pub(crate) context: &'a SourceContext<'a>,
    pub(crate) names: LinkNames,
    /// True if the sender's address names the receiver, unless frames contain the receiver.
    pub(crate) by_sender: bool,
    /// The columns of rows, if the source has rows.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) speed: Speed,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_delay: TimeSpan,
    pub(crate) max_ahead: TimeSpan,
    /// True if records have calendar times, rather than times of a device's clock.
    pub(crate) calendar: bool,
    pub(crate) idle_timeout: TimeSpan,
    /// URL of the schema registry, if messages refer to schemas.
    pub(crate) registry: Option<&'a str>,
    /// Creates a decoder; each partition has its own.
    pub(crate) decoder: &'a dyn Fn() -> Box<dyn Decoder>,
}

impl Ingress<'_> {
    /// Returns a collector of a partition's records. `clock` applies if the settings have none.
    pub(crate) fn collector(&self, kind: SourceKind, partition: &str, clock: Clock) -> Collector {
        let collector = Collector::new(self.names.clone(), kind, self.context);
        let collector = collector.of_partition(self.context, partition);
        let collector = collector.with_max_delay(self.max_delay);
        let collector = collector.with_max_ahead(self.max_ahead);
        let collector =
            collector.with_clock(self.clock.unwrap_or(clock)).with_senders(self.by_sender);
        let Some(schema) = &self.schema else { return collector };
        collector.with_rows(Table {
            stream: self.context.name.to_owned(),
            partition: partition.to_owned(),
            schema: Arc::clone(schema),
        })
    }
}
