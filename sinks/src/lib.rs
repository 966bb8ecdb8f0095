//! Sinks: Kafka topics, Delta tables, JSON Lines files, and the hub of live views.
//!
//! A sink is a plain blocking object; the engine adds a thread, a bounded queue and retries.

mod delta;
mod error;
mod json_lines;
mod kafka;
mod line_file;
mod live;
mod message;
mod output;
mod rejected;
mod settings;
mod sink;
mod upper_file;
mod video_overlay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use schemas::RecordKind;
use serde::Deserialize;

use crate::settings::SinkSettings;

pub use crate::delta::{DeltaConfig, DeltaTail, forget};
pub use crate::error::SinkError;
pub use crate::json_lines::JsonLinesConfig;
pub use crate::kafka::{KafkaConfig, ValueFormat};
pub use crate::live::{Hub, LiveConfig};
pub use crate::output::OutputError;
pub use crate::rejected::{REJECTED_TABLE, Rejected};
pub use crate::sink::Sink;
pub use crate::video_overlay::VideoOverlayConfig;

macro_rules! sinks {
    ($($(#[$doc:meta])* $sink:ident($settings:ty)),* $(,)?) => {
        /// The types of sinks. Each accepts records of any kind that has a table.
        #[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(tag = "type")]
        pub enum SinkConfig {
            $($(#[$doc])* $sink($settings)),*
        }

        impl SinkConfig {
            fn settings(&self) -> &dyn SinkSettings {
                match self {
                    $(Self::$sink(settings) => settings),*
                }
            }
        }
    };
}

sinks! {
    /// The history: a folder with a Delta table for each kind of record.
    Delta(DeltaConfig),
    /// A file with one JSON record a line.
    JsonLines(JsonLinesConfig),
    /// Topics of Apache Kafka, written exactly once.
    Kafka(KafkaConfig),
    /// Live views: the API's current poses and its WebSocket.
    Live(LiveConfig),
    /// Pictures with the people that were found in them.
    VideoOverlay(VideoOverlayConfig),
}

/// The context of a sink in its run.
#[derive(Clone, Copy, Debug)]
pub struct SinkContext<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The sink's name.
    pub name: &'a str,
    /// The input streams, and the kind of record in each.
    pub inputs: &'a [(String, RecordKind)],
    /// The name of the pipeline's history of checkpoints; a fresh start has a new one.
    pub lineage: &'a str,
    /// The number of the run, which grows with each run of the pipeline.
    pub generation: i64,
    /// The folder that relative paths are relative to.
    pub directory: &'a Path,
    /// The hub of this run.
    pub hub: &'a Arc<Hub>,
}

impl SinkContext<'_> {
    /// Returns the sink's unique name among all writers: pipeline, sink and lineage, separated by `/`.
    pub fn writer(&self) -> String {
        format!("{}/{}/{}", self.pipeline, self.name, self.lineage)
    }
}

/// An open sink, and its rows that can be read.
pub struct OpenSink {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Accepted rows that are not in their table yet; only for sinks with a history.
    pub tail: Option<DeltaTail>,
}

impl OpenSink {
    /// A sink without a history.
    fn new(sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), tail: None }
    }
}

impl SinkConfig {
    /// Returns the errors in the settings: the name of each setting, and the expected values.
    pub fn problems(&self) -> Vec<String> {
        self.settings().problems()
    }

    /// Returns true if the sink takes pictures.
    pub fn takes_pictures(&self) -> bool {
        self.settings().takes_pictures()
    }

    /// Returns the location of the sink's upper; none for sinks without an upper.
    pub fn state_shape(&self) -> Option<String> {
        self.settings().state_shape()
    }

    /// Returns true if the API reads what the sink stores.
    pub fn is_served(&self) -> bool {
        self.settings().is_served()
    }

    /// Returns the files and folders that the sink writes, as in the pipeline file. Devices are left
    /// out: they store nothing, so several sinks can write to one.
    pub fn files(&self) -> Vec<PathBuf> {
        self.settings().files()
    }

    /// Returns a warning of the output of earlier runs before a fresh start; none without output.
    pub fn leftovers(&self, directory: &Path) -> Option<String> {
        self.settings().leftovers(directory)
    }

    /// Returns the files and folders with output of a sink's earlier runs, whose writer names begin
    /// with `writer`. Relative paths are relative to `directory`.
    ///
    /// # Errors
    ///
    /// [`OutputError`] if another writer has written there as well, or may have.
    pub fn output(&self, writer: &str, directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
        self.settings().output(writer, directory)
    }

    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if a file or folder cannot be written, or a broker cannot be reached.
    pub fn open(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        self.settings().open_sink(context)
    }
}

impl std::fmt::Debug for OpenSink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OpenSink").field("tail", &self.tail).finish_non_exhaustive()
    }
}
