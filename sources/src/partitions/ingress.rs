//! Reading of MQTT messages.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use schemas::SourceKind;
use serde::Deserialize;

use crate::partitions::rows::Table;
use crate::{Collector, Decoder, LinkNames, SourceContext, Speed};

/// Which clock gives the capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's own, which starts anywhere, jumps and wraps; wraps are undone.
    Device,
    /// The device's own, kept steady: jumps are told by the frame counter, and where the time of
    /// arrival is known the clock follows it. Several devices are waited for then, each for 0.2 s at
    /// most.
    Aligned,
    /// The time at which the bytes came in; with Kafka, the time that the message carries.
    Arrival,
}

/// What is done with the bytes of a transport.
pub(crate) struct Ingress<'a> {
    pub(crate) context: &'a SourceContext<'a>,
    pub(crate) names: LinkNames,
    /// True if receivers are named by who sends, where frames do not tell.
    pub(crate) by_sender: bool,
    /// The columns of rows, where rows come.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) speed: Speed,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_delay_ms: u32,
    pub(crate) max_ahead_ms: u32,
    /// True if records carry times of the calendar, rather than of a device's clock.
    pub(crate) calendar: bool,
    pub(crate) idle_timeout_ms: u32,
    /// URL of the schema registry, where messages name schemas.
    pub(crate) registry: Option<&'a str>,
    /// Makes a decoder; each partition has its own.
    pub(crate) decoder: &'a dyn Fn() -> Box<dyn Decoder>,
}

impl Ingress<'_> {
    /// A collector of a partition's records, with a default clock.
    pub(crate) fn collector(&self, kind: SourceKind, partition: &str, clock: Clock) -> Collector {
        let collector = Collector::new(self.names.clone(), kind, self.context);
        let collector = collector.of_partition(self.context, partition);
        let collector = collector.with_max_delay_ms(self.max_delay_ms);
        let collector = collector.with_max_ahead_ms(self.max_ahead_ms);
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
