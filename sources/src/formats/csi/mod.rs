//! CSI: the formats that frames are written in.

mod atheros;
mod bytes;
mod detect;
mod esp32;
mod feitcsi;
mod format;
mod intel5300;
mod layouts;
mod mac;
mod nexmon;
mod picoscenes;
#[cfg(test)]
pub(crate) mod robustness;
mod ruview;
#[cfg(test)]
mod testing;
mod tones;
mod values;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::transports::{Ingress, default_idle_timeout_ms, default_max_ahead_ms};
use crate::{Clock, Decoder, LinkNames, Partition, SourceContext, SourceError, Speed, Transport};

use crate::formats::csi::atheros::Atheros;
use crate::formats::csi::esp32::Esp32;
use crate::formats::csi::feitcsi::FeitCsi;
use crate::formats::csi::format::Framed;
use crate::formats::csi::intel5300::Intel5300;
use crate::formats::csi::nexmon::Nexmon;
use crate::formats::csi::picoscenes::Picoscenes;
use crate::formats::csi::ruview::Ruview;

pub use crate::formats::csi::nexmon::NexmonChip;

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
    /// Which clock gives the capture times: "device" (default for `file`), "arrival" (default
    /// otherwise) or "aligned".
    pub clock: Option<Clock>,
    /// Milliseconds that frames may come out of order without being late; 0 by default.
    #[serde(default)]
    pub max_delay_ms: u32,
    /// Milliseconds that a frame's time may be ahead of the time that it comes in; 60000 by default. One
    /// that is further ahead is an error: the clock does not follow it.
    #[serde(default = "default_max_ahead_ms")]
    pub max_ahead_ms: u32,
    /// Milliseconds without a message after which a topic's partition, or a socket, is silent; 30000 by
    /// default. Its clock then follows the wall clock at that distance, so that it does not hold back
    /// the others. Where the time of arrival counts, sockets need none, but tell then that a board is not
    /// there any more.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u32,
    /// The place that is watched; the pipeline's name by default.
    pub site: Option<String>,
    /// The chip that Nexmon's datagrams come from; the one that they tell by default.
    pub chip: Option<NexmonChip>,
    /// Name of the receiving device. By default it is what a frame tells, or the address that datagrams
    /// are sent from, or the source's name.
    pub receiver: Option<String>,
    /// Name of the sending device where the format does not tell; "ap" by default.
    pub transmitter: Option<String>,
}

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CsiFormat {
    /// The Linux 802.11n CSI Tool's log of an Intel 5300.
    Intel5300,
    /// The Atheros CSI Tool's log, in either byte order.
    Atheros,
    /// Nexmon's datagrams of Broadcom chips.
    Nexmon,
    /// Lines of the ESP32-CSI-Tool, of Espressif's esp-csi, version 1 or 2, or of esp-radar.
    Esp32,
    /// Recordings of PicoScenes.
    Picoscenes,
    /// Frames of FeitCSI.
    Feitcsi,
    /// Datagrams of RuView's nodes (ADR-018) and recordings of its server.
    Ruview,
}

impl CsiFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Intel5300,
        Self::Atheros,
        Self::Nexmon,
        Self::Esp32,
        Self::Picoscenes,
        Self::Feitcsi,
        Self::Ruview,
    ];

    /// Its name in pipeline files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intel5300 => "intel5300",
            Self::Atheros => "atheros",
            Self::Nexmon => "nexmon",
            Self::Esp32 => "esp32",
            Self::Picoscenes => "picoscenes",
            Self::Feitcsi => "feitcsi",
            Self::Ruview => "ruview",
        }
    }

    /// A decoder of this format, bare or in a capture of a network.
    pub fn decoder(self) -> Box<dyn Decoder> {
        self.decoder_for(None)
    }

    /// A decoder of this format that takes Nexmon's datagrams for those of a chip, whatever they say.
    pub fn decoder_for(self, chip: Option<NexmonChip>) -> Box<dyn Decoder> {
        match self {
            Self::Intel5300 => Box::new(Framed::new(Intel5300::default())),
            Self::Atheros => Box::new(Framed::new(Atheros::default())),
            Self::Nexmon => Box::new(Framed::new(Nexmon::new(chip))),
            Self::Esp32 => Box::new(Framed::new(Esp32::default())),
            Self::Picoscenes => Box::new(Framed::new(Picoscenes::default())),
            Self::Feitcsi => Box::new(Framed::new(FeitCsi::default())),
            Self::Ruview => Box::new(Framed::new(Ruview::default())),
        }
    }
}

impl CsiConfig {
    /// What the position is like.
    pub(crate) fn state_shape(&self) -> String {
        self.transport.state_shape(&format!("csi 2 {:?}", self.format))
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
        let by_sender = self.receiver.is_none();
        self.transport.open(&Ingress {
            context,
            names,
            by_sender,
            schema: None,
            speed: self.speed,
            clock: self.clock,
            max_delay_ms: self.max_delay_ms,
            max_ahead_ms: self.max_ahead_ms,
            calendar: false,
            idle_timeout_ms: self.idle_timeout_ms,
            registry: None,
            decoder: &|| self.decoder(),
        })
    }

    pub(crate) fn decoder(&self) -> Box<dyn Decoder> {
        self.format.decoder_for(self.chip)
    }
}
