//! The `csi` source.

use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::config::checks::problems_in_time;
use crate::config::settings::{Outputs, SourceSettings};
use crate::config::{default_idle_timeout, default_max_ahead};
use crate::formats::csi::{CsiFormat, NexmonChip};
use crate::partitions::ingress::Ingress;
use crate::{Clock, Decoder, LinkNames, Partition, SourceContext, SourceError, Speed, Transport};

/// Settings of the `csi` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsiConfig {
    /// The format of the bytes.
    pub format: CsiFormat,
    /// The transport of the bytes.
    pub transport: Transport,
    /// Speed of reading a file: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
    /// Clock of the capture times: "device" (default for `file`), "arrival" (default otherwise) or
    /// "aligned".
    pub clock: Option<Clock>,
    /// How far frames may be out of order without being late; "0s" by default.
    #[serde(default)]
    pub max_delay: TimeSpan,
    /// How far a frame's time may be ahead of its arrival; "1m" by default. A frame that is
    /// further ahead is an error, and the clock does not follow it.
    #[serde(default = "default_max_ahead")]
    pub max_ahead: TimeSpan,
    /// Time without a message after which a partition of a topic, or a socket, is idle; "30s" by
    /// default. The clock of an idle partition follows the wall clock at this distance, so it does not
    /// delay the watermark. With the clock "arrival" or "aligned", the clock of a socket needs no such
    /// time-out. A board is then reported as disconnected after this time.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: TimeSpan,
    /// Name of the observed place; the pipeline's name by default.
    pub site: Option<String>,
    /// The chip that sends Nexmon's datagrams; by default, the chip that the datagrams name.
    pub chip: Option<NexmonChip>,
    /// Name of the receiving device. By default, the name in the frame, or the address that datagrams are
    /// sent from, or the source's name.
    pub receiver: Option<String>,
    /// Name of the sending device, if the format does not contain it; "ap" by default.
    pub transmitter: Option<String>,
}

impl SourceSettings for CsiConfig {
    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Csi), ("errors", RecordKind::Rows), ("events", RecordKind::Event)]
    }

    fn problems(&self) -> Vec<String> {
        problems_in_time(self.max_delay, self.idle_timeout, self.speed)
    }

    fn state_shape(&self) -> String {
        self.transport.state_shape(&format!("csi 2 {:?}", self.format))
    }

    fn transport(&self) -> Option<&Transport> {
        Some(&self.transport)
    }

    fn decoder(&self) -> Option<Box<dyn Decoder>> {
        Some(self.format.decoder_for(self.chip))
    }

    fn format(&self) -> Option<CsiFormat> {
        Some(self.format)
    }

    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        let or = |name: &Option<String>, default: &str| {
            name.clone().unwrap_or_else(|| default.to_owned())
        };
        let names = LinkNames {
            site: or(&self.site, context.site),
            receiver: or(&self.receiver, context.name),
            transmitter: or(&self.transmitter, "ap"),
        };
        let by_sender = self.receiver.is_none();
        self.transport.open(&Ingress {
            context,
            names,
            by_sender,
            schema: None,
            speed: self.speed,
            clock: self.clock,
            max_delay: self.max_delay,
            max_ahead: self.max_ahead,
            calendar: false,
            idle_timeout: self.idle_timeout,
            registry: None,
            decoder: &|| self.format.decoder_for(self.chip),
        })
    }
}
