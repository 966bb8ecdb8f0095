//! Sources: CSI captures and devices, JSON, poses, and the simulator.
//!
//! A source is a plain blocking object that is polled for records. The engine runs it in a thread with a
//! bounded queue. Decoders are pure: bytes in, frames or a counted error out.

mod arrival_clock;
mod capture_reader;
mod config;
mod error;
mod formats;
mod framing;
mod journal;
mod partitions;
mod resources;
pub mod simulate;
mod source;
mod transports;
mod video;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use schemas::{Granule, RecordKind, Tick, TickLength};
use serde::Deserialize;

use crate::config::settings::SourceSettings;

pub use crate::capture_reader::CaptureReader;
pub use crate::config::csi::CsiConfig;
pub use crate::config::json::JsonConfig;
pub use crate::config::poses::PosesConfig;
pub use crate::error::SourceError;
pub use crate::formats::csi::{CsiFormat, NexmonChip};
pub use crate::formats::decoder::{
    Content, DecodeError, Decoded, Decoder, DecoderMemory, PacketHeader, Split, Step,
};
pub use crate::formats::frame::{Counter, DeviceFrame, DeviceTime, SequenceSpace};
pub use crate::formats::json::{FieldType, TimeField, TimeUnit};
pub use crate::formats::poses::PoseFormat;
pub use crate::formats::row::{Row, Value};
pub use crate::partitions::collector::Collector;
pub use crate::partitions::decision::{Decision, DecisionKind, Decisions, NoDecisions};
pub use crate::partitions::frames::LinkNames;
pub use crate::partitions::ingress::Clock;
pub use crate::partitions::pace::Speed;
pub use crate::partitions::position;
pub use crate::resources::Endpoint;
pub use crate::simulate::SimulateConfig;
pub use crate::source::{
    Dropped, Partition, PartitionPosition, Poll, PollState, Receiver, Share, Source,
};
pub use crate::transports::{KafkaTopic, MqttTopic, NetworkInterface, SerialLine, Transport};
pub use crate::video::{VideoConfig, VideoDescription, count_pictures, describe_video};

/// Lists the types of sources: their names in pipeline files are those of the variants in snake case.
macro_rules! sources {
    ($($(#[$doc:meta])* $source:ident($settings:ty)),* $(,)?) => {
        /// The types of sources.
        #[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(tag = "type")]
        pub enum SourceConfig {
            $($(#[$doc])* $source($settings)),*
        }

        impl SourceConfig {
            fn settings(&self) -> &dyn SourceSettings {
                match self {
                    $(Self::$source(settings) => settings),*
                }
            }
        }
    };
}

sources! {
    /// Channel state information from a capture file or a device.
    Csi(CsiConfig),
    /// Rows from JSON, with the fields that are declared here.
    Json(JsonConfig),
    /// Ready-made poses.
    Poses(PosesConfig),
    /// A simulated room with people in it.
    Simulate(SimulateConfig),
    /// Pictures of a video, a folder or a camera.
    Video(VideoConfig),
}

impl SourceConfig {
    /// The output streams: the port's name, which is empty for the main one, and the kind of its records.
    pub fn outputs(&self) -> &'static [(&'static str, RecordKind)] {
        self.settings().outputs()
    }

    /// Returns the columns of the rows of a port; none if the port has no rows.
    pub fn schema(&self, port: &str) -> Option<SchemaRef> {
        match port {
            "errors" => Some(partitions::errors::schema()),
            _ => self.settings().schema(),
        }
    }

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    pub fn problems(&self) -> Vec<String> {
        self.settings().problems()
    }

    /// Returns the shape of the position: a number that grows when its encoding changes, and the source's
    /// content. A position of another shape cannot be used.
    pub fn state_shape(&self) -> String {
        self.settings().state_shape()
    }

    /// Opens the partitions of the source that are in `context`'s share.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if a file cannot be read or an address cannot be bound.
    pub fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        if self.is_partitioned() || context.share.has(0) {
            self.settings().open(context)
        } else {
            Ok(Vec::new())
        }
    }

    /// True if the source may have several partitions.
    fn is_partitioned(&self) -> bool {
        matches!(self.settings().transport(), Some(Transport::Kafka(_)))
    }

    /// True if devices that the source finds while it runs are partitions.
    pub fn finds_devices(&self) -> bool {
        self.settings().transport().is_some_and(Transport::tells_senders)
    }

    /// The file or folder that the source reads, which must exist, with the setting that names it.
    pub fn input_file(&self) -> Option<(&'static str, &Path)> {
        self.settings().input_file()
    }

    /// The origin of the records, for messages.
    pub fn origin(&self) -> String {
        self.settings().origin()
    }

    /// Returns the CSI format of the first bytes of the source's file, if it is not the configured one.
    pub fn other_format(&self, directory: &Path) -> Option<CsiFormat> {
        let format = self.settings().format()?;
        let (Transport::File(path) | Transport::Follow(path)) = self.settings().transport()? else {
            return None;
        };
        let detected = CsiFormat::detect_file(&directory.join(path)).ok().flatten();
        detected.filter(|detected| *detected != format)
    }

    /// Returns a receiver that records the source's messages in a folder.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source has no journal, or an address cannot be bound.
    pub fn recorder(&self, name: &str, folder: &Path) -> Result<Box<dyn Receiver>, SourceError> {
        let settings = self.settings();
        let receiver = match settings.transport().zip(settings.decoder()) {
            Some((transport, decoder)) => transport.recorder(name, folder, decoder)?,
            None => None,
        };
        receiver.ok_or_else(|| SourceError::NothingToRecord { name: name.to_owned() })
    }
}

/// The context of a source in its pipeline.
#[derive(Clone, Copy, Debug)]
pub struct SourceContext<'a> {
    /// The source's name.
    pub name: &'a str,
    /// The observed place, unless the source's settings name another.
    pub site: &'a str,
    /// The folder that relative paths are relative to.
    pub directory: &'a Path,
    /// The pipeline's tick.
    pub tick_length: TickLength,
    /// The granule of positions.
    pub granule: Granule,
    /// The first tick of the run: checkpoints contain all earlier records.
    pub starts_at: Tick,
    /// The first tick of new partitions: after the last tick that sinks have committed.
    pub begins_at: Tick,
    /// The positions to continue at, by partition.
    pub positions: &'a [(Vec<u8>, Vec<u8>)],
    /// The folder of journals, for transports that cannot be read again.
    pub journal: &'a Path,
    /// The store of decisions about partitions.
    pub decisions: &'a Arc<dyn Decisions>,
    /// The latest clock of the run's partitions, in milliseconds like ticks.
    pub furthest: &'a Arc<AtomicU64>,
    /// The partitions to open.
    pub share: Share,
    /// The quarantined sources, and the quarantined partitions as `SOURCE/PARTITION`.
    pub quarantine: &'a [String],
}

impl SourceContext<'_> {
    /// Returns the position to continue at in a partition; none if nothing was saved.
    pub fn position(&self, partition: &str) -> Option<&[u8]> {
        let mut positions = self.positions.iter();
        let (_, position) = positions.find(|(name, _)| name == partition.as_bytes())?;
        Some(position)
    }

    /// True if a partition is quarantined, alone or with the whole source.
    pub fn is_quarantined(&self, partition: &str) -> bool {
        position::is_quarantined(self.quarantine, self.name, partition)
    }

    /// A context without a pipeline, for training and tests.
    pub fn detached(name: &str) -> SourceContext<'_> {
        static NOWHERE: LazyLock<Arc<dyn Decisions>> = LazyLock::new(|| Arc::new(NoDecisions));
        static ALONE: LazyLock<Arc<AtomicU64>> = LazyLock::new(Arc::default);
        let tick_length = TickLength::from_ms(10);
        SourceContext {
            name,
            site: "detached",
            directory: Path::new("."),
            tick_length,
            granule: Granule::new(1000, tick_length),
            starts_at: 0,
            begins_at: 0,
            positions: &[],
            journal: Path::new("journal"),
            decisions: &NOWHERE,
            furthest: &ALONE,
            share: Share::ALL,
            quarantine: &[],
        }
    }
}
