//! Sinks: Kafka topics, Delta tables, JSON Lines files, and the hub of live views.
//!
//! A sink is a plain blocking object; the engine adds a thread, a bounded queue and retries.

mod delta;
mod error;
mod json_lines;
mod kafka;
mod line_file;
mod live;
mod output;
mod rejected;
mod settings;
mod sink;
mod upper_file;

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use schemas::RecordKind;
use serde::Deserialize;

pub use crate::delta::{DeltaConfig, DeltaTail, forget};
pub use crate::error::SinkError;
pub use crate::json_lines::JsonLinesConfig;
pub use crate::kafka::{KafkaConfig, RegistryError, ValueFormat};
pub use crate::live::{Hub, LiveConfig};
pub use crate::output::OutputError;
pub use crate::rejected::{REJECTED_TABLE, Rejected};
pub use crate::sink::Sink;

/// The types of sinks. Each accepts records of any kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "type")]
pub enum SinkConfig {
    /// The history: a folder with a Delta table for each kind of record.
    Delta(DeltaConfig),
    /// A file with one JSON record a line.
    JsonLines(JsonLinesConfig),
    /// Topics of Apache Kafka, written exactly once.
    Kafka(KafkaConfig),
    /// Live views: the API's current poses and its WebSocket.
    Live(LiveConfig),
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

impl SinkConfig {
    /// Returns the location of its upper; none for sinks without an upper.
    pub fn state_shape(&self) -> Option<String> {
        match self {
            Self::Delta(config) => Some(format!("delta 1, {}", config.path.display())),
            Self::JsonLines(config) => Some(format!("json_lines 1, {}", config.path.display())),
            Self::Kafka(config) => Some(config.state_shape()),
            Self::Live(_) => None,
        }
    }

    /// Returns true if the API reads what the sink stores.
    pub fn is_served(&self) -> bool {
        match self {
            Self::Delta(_) | Self::Live(_) => true,
            Self::JsonLines(_) | Self::Kafka(_) => false,
        }
    }

    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if a file or folder cannot be written, or a broker cannot be reached.
    pub fn open(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        Ok(match self {
            Self::Delta(config) => {
                let sink = config.open(context)?;
                let tail = Some(sink.tail());
                OpenSink { sink: Box::new(sink), tail }
            }
            Self::JsonLines(config) => {
                OpenSink { sink: Box::new(config.open(context)?), tail: None }
            }
            Self::Kafka(config) => OpenSink { sink: Box::new(config.open(context)?), tail: None },
            Self::Live(config) => OpenSink { sink: Box::new(config.open(context)), tail: None },
        })
    }
}

impl std::fmt::Debug for OpenSink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OpenSink").field("tail", &self.tail).finish_non_exhaustive()
    }
}
