//! CSI: the formats of files, lines and datagrams with frames.

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

use crate::Decoder;
use crate::formats::csi::atheros::Atheros;
use crate::formats::csi::esp32::Esp32;
use crate::formats::csi::feitcsi::FeitCsi;
use crate::formats::csi::format::Framed;
use crate::formats::csi::intel5300::Intel5300;
use crate::formats::csi::nexmon::Nexmon;
use crate::formats::csi::picoscenes::Picoscenes;
use crate::formats::csi::ruview::Ruview;

pub use crate::formats::csi::nexmon::NexmonChip;

/// The supported CSI formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CsiFormat {
    /// The Linux 802.11n CSI Tool's log of an Intel 5300.
    Intel5300,
    /// The Atheros CSI Tool's log, in either byte order.
    Atheros,
    /// Nexmon's UDP datagrams of Broadcom chips.
    Nexmon,
    /// Lines of the ESP32-CSI-Tool, of Espressif's esp-csi, version 1 or 2, or of esp-radar.
    Esp32,
    /// Recordings of PicoScenes.
    Picoscenes,
    /// Frames of FeitCSI, from Intel AX200 and AX210 cards.
    Feitcsi,
    /// Datagrams of RuView's nodes (ADR-018) and recordings of its server.
    Ruview,
}

impl CsiFormat {
    /// All formats.
    pub const ALL: [Self; 7] = [
        Self::Intel5300,
        Self::Atheros,
        Self::Nexmon,
        Self::Esp32,
        Self::Picoscenes,
        Self::Feitcsi,
        Self::Ruview,
    ];

    /// Returns the name in pipeline files.
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

    /// Returns a decoder of this format, bare or in network captures.
    pub fn decoder(self) -> Box<dyn Decoder> {
        self.decoder_for(None)
    }

    /// Returns a decoder of this format. With `chip`, it decodes all Nexmon datagrams as those of that chip,
    /// regardless of the chip number in them.
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
