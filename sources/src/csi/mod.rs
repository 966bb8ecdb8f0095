//! CSI: the formats that frames are written in.

mod clock;
mod esp32;
mod intel5300;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::transport::{Ingress, default_idle_timeout_ms};
use crate::{Clock, Decoder, LinkNames, Partition, SourceContext, SourceError, Speed, Transport};

pub(crate) use crate::csi::clock::MicrosecondClock;
pub use crate::csi::esp32::Esp32;
pub use crate::csi::intel5300::Intel5300;

/// Settings of the `csi` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsiConfig {
    /// The format of the bytes.
    pub format: CsiFormat,
    /// Where the bytes come from.
    pub transport: Transport,
    /// How fast a file is read: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
    /// Which clock gives the capture times: "device" (default for files), "arrival" (default
    /// otherwise) or "aligned".
    pub clock: Option<Clock>,
    /// Milliseconds that frames may come out of order without being late; 0 by default.
    #[serde(default)]
    pub max_delay_ms: u32,
    /// Milliseconds without a message after which a topic's partition, or a socket, is silent; 30000 by
    /// default. Its clock then follows the wall clock at that distance, so that it does not hold back
    /// the others. Where the time of arrival counts, sockets need none.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u32,
    /// The place that is watched; the pipeline's name by default.
    pub site: Option<String>,
    /// Name of the receiving device; the source's name by default.
    pub receiver: Option<String>,
    /// Name of the sending device where the format does not tell; "ap" by default.
    pub transmitter: Option<String>,
}

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CsiFormat {
    /// The Linux 802.11n CSI Tool's log of an Intel 5300.
    Intel5300,
    /// Lines of the ESP32-CSI-Tool or of Espressif's esp-csi, version 1 or 2.
    Esp32,
}

impl CsiFormat {
    /// A decoder of this format.
    pub fn decoder(self) -> Box<dyn Decoder> {
        match self {
            Self::Intel5300 => Box::<Intel5300>::default(),
            Self::Esp32 => Box::<Esp32>::default(),
        }
    }
}

impl CsiConfig {
    /// What the position is like.
    pub(crate) fn state_shape(&self) -> String {
        self.transport.state_shape(&format!("csi {:?}", self.format))
    }

    /// Opens the transport.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if that fails.
    pub(crate) fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        let or = |name: &Option<String>, default: &str| {
            name.clone().unwrap_or_else(|| default.to_owned())
        };
        let names = LinkNames {
            site: or(&self.site, context.site),
            receiver: or(&self.receiver, context.name),
            transmitter: or(&self.transmitter, "ap"),
        };
        self.transport.open(&Ingress {
            context,
            names,
            schema: None,
            speed: self.speed,
            clock: self.clock,
            max_delay_ms: self.max_delay_ms,
            idle_timeout_ms: self.idle_timeout_ms,
            registry: None,
            decoder: &|| self.format.decoder(),
        })
    }
}
