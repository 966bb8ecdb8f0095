//! Pipeline files: what they may say, and what they mean.

mod duration;
mod graph;
mod mistake;
mod parse;
mod plan;
mod schema;
mod tagged;

use std::net::SocketAddr;
use std::ops::Range;

use operators::OperatorConfig;
use schemars::JsonSchema;
use schemas::TickLength;
use serde::Deserialize;
use sinks::SinkConfig;
use sources::SourceConfig;

pub use crate::pipeline::mistake::{Mistake, PipelineError};
pub use crate::pipeline::plan::{Plan, PlannedOperator, PlannedSink, PlannedSource, StreamName};
pub use crate::pipeline::schema::json_schema;

/// A pipeline file that was read; its names are not resolved yet.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// The step of event time.
    pub tick_length: TickLength,
    /// How far, in milliseconds of event time, a source may be ahead of the slowest sink.
    pub max_lead_ms: u64,
    /// Where to serve the API, if at all.
    pub api: Option<ApiConfig>,
    pub(crate) sources: Vec<Component<SourceConfig>>,
    pub(crate) operators: Vec<Component<OperatorConfig>>,
    pub(crate) sinks: Vec<Component<SinkConfig>>,
}

/// Where to serve the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address to listen on, such as "127.0.0.1:8080".
    pub listen: SocketAddr,
}

/// A component and where the file speaks of it.
#[derive(Clone, Debug)]
pub(crate) struct Component<C> {
    pub(crate) name: String,
    pub(crate) name_at: Range<usize>,
    pub(crate) config: C,
    /// The names of its inputs, and where each is.
    pub(crate) inputs: Vec<(String, Range<usize>)>,
}
