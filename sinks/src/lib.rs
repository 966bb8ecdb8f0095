//! Sinks: Kafka topics, Delta tables, JSON Lines files, and the hub of live views.
//!
//! A sink is a plain blocking object; the engine gives it a thread, a bounded queue and retries.

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

/// The sinks there are; each takes records of any kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "type")]
pub enum SinkConfig {
    /// The history: a folder with a Delta table for each kind of record.
    Delta(DeltaConfig),
    /// A file with one JSON record a line.
    JsonLines(JsonLinesConfig),
    /// Topics of Apache Kafka, exactly once.
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
    /// The streams it takes from, and what flows there.
    pub inputs: &'a [(String, RecordKind)],
    /// Names the pipeline's history of checkpoints; a fresh start is another one.
    pub lineage: &'a str,
    /// Grows from run to run of the pipeline.
    pub generation: i64,
    /// The folder that relative paths are relative to.
    pub directory: &'a Path,
    /// The hub of this run.
    pub hub: &'a Arc<Hub>,
}

impl SinkContext<'_> {
    /// Names the sink, its pipeline and its history of checkpoints, among all that ever wrote to a
    /// place.
    pub fn writer(&self) -> String {
        format!("{}/{}/{}", self.pipeline, self.name, self.lineage)
    }
}

/// A sink that is ready, and what of it can be read.
pub struct OpenSink {
    /// Takes the records.
    pub sink: Box<dyn Sink>,
    /// Rows that are accepted but not in their table yet, for sinks that keep a history.
    pub tail: Option<DeltaTail>,
}

impl SinkConfig {
    /// The place of its upper, if it has one.
    pub fn state_shape(&self) -> Option<String> {
        match self {
            Self::Delta(config) => Some(format!("delta 1, {}", config.path.display())),
            Self::JsonLines(config) => Some(format!("json_lines 1, {}", config.path.display())),
            Self::Kafka(config) => Some(config.state_shape()),
            Self::Live(_) => None,
        }
    }

    /// True if the API reads what it holds.
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
    /// [`SinkError`] if a file or folder cannot be written, or a broker not be reached.
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
