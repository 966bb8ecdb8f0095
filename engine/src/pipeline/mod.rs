//! Pipeline files: their syntax, their checks, and the resulting plan.

mod api;
mod diagnostic;
mod graph;
mod network;
mod origin;
mod parse;
mod plan;
mod renamed;
mod schema;
mod tagged;
mod template;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;

use operators::OperatorConfig;
use schemars::JsonSchema;
use schemas::{TickLength, TimeSpan};
use serde::Deserialize;
use sinks::SinkConfig;
use sources::SourceConfig;

pub use crate::pipeline::api::{
    ApiConfig, Auth, IssuerConfig, PostgresConfig, RateLimits, TlsConfig,
};
pub use crate::pipeline::diagnostic::{Diagnostic, PipelineError};
pub use crate::pipeline::network::Network;
pub use crate::pipeline::origin::Origin;
pub use crate::pipeline::plan::{Plan, PlannedOperator, PlannedSink, PlannedSource, StreamName};
pub use crate::pipeline::schema::json_schema;
pub use crate::pipeline::template::{Template, TemplateError};

/// The schemes of stores that are not files.
const SERVERS: [&str; 2] = ["postgres://", "postgresql://"];
const MIN_CHECKPOINT: TimeSpan = TimeSpan::from_ms(1);
const MAX_CHECKPOINT: TimeSpan = TimeSpan::from_s(24 * 3600);
const MAX_RETENTION: usize = 1000;

/// A pipeline file that was read; its names are not resolved yet.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// The length of a tick, in event time.
    pub tick_length: TickLength,
    /// Maximum lead of a source over the slowest sink in event time.
    pub max_lead: TimeSpan,
    /// Maximum size of the records of a partition that the slowest sink has not accepted, in mebibytes.
    pub max_in_flight_mib: NonZeroUsize,
    /// The settings of checkpoints.
    pub checkpoint: CheckpointConfig,
    /// The address of the API, if it is served.
    pub api: Option<ApiConfig>,
    pub(crate) sources: Vec<Component<SourceConfig>>,
    pub(crate) operators: Vec<Component<OperatorConfig>>,
    pub(crate) sinks: Vec<Component<SinkConfig>>,
}

impl Pipeline {
    /// Returns the errors in the settings of all components.
    fn problems(&self) -> Vec<Diagnostic> {
        let sources = self.sources.iter();
        let sources = sources.flat_map(|it| it.diagnostics("source", it.config.problems()));
        let operators = self.operators.iter();
        let operators = operators.flat_map(|it| it.diagnostics("operator", it.config.problems()));
        let sinks = self.sinks.iter();
        let sinks = sinks.flat_map(|it| it.diagnostics("sink", it.config.problems()));
        sources.chain(operators).chain(sinks).collect()
    }
}

/// Settings of checkpoints: where they are stored, how often, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// The store: a file (`"fresnel.db"` by default), or a URL such as `"postgres://user@host/name"`.
    pub store: String,
    /// Time between two checkpoints; `"1s"` by default, at most `"1day"`.
    pub interval: TimeSpan,
    /// Event time between two points from which a run can resume; `"1s"` by default, at most `"1day"`.
    pub granule: TimeSpan,
    /// Number of checkpoints to keep, in case the newest is damaged; 3 by default, at most 1000.
    pub retention: NonZeroUsize,
}

impl CheckpointConfig {
    /// Returns the store, if it is a file.
    pub(crate) fn store_file(&self) -> Option<&str> {
        let is_server = SERVERS.iter().any(|scheme| self.store.starts_with(scheme));
        (!is_server).then_some(&self.store)
    }

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    fn problems(&self) -> Vec<String> {
        let lengths = [
            ("interval", self.interval, "output is not durable before a checkpoint"),
            ("granule", self.granule, "a run goes on from the end of a granule only"),
        ];
        let outside =
            |(_, length, _): &(_, TimeSpan, _)| !(MIN_CHECKPOINT..=MAX_CHECKPOINT).contains(length);
        let lengths = lengths.into_iter().filter(outside).map(|(name, length, why)| {
            format!("{name} must be from {MIN_CHECKPOINT} to {MAX_CHECKPOINT}, not {length}: {why}")
        });
        let retention = self.retention;
        let retention = (retention.get() > MAX_RETENTION).then(|| {
            format!(
                "retention must be at most {MAX_RETENTION}, not {retention}: journals keep what the \
                 oldest checkpoint needs"
            )
        });
        lengths.chain(retention).collect()
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            store: "fresnel.db".to_owned(),
            interval: TimeSpan::from_s(1),
            granule: TimeSpan::from_s(1),
            retention: const { NonZeroUsize::new(3).expect("3 is not zero") },
        }
    }
}

/// A component, with its spans in the file.
#[derive(Clone, Debug)]
pub(crate) struct Component<C> {
    pub(crate) name: String,
    pub(crate) name_at: Range<usize>,
    /// The span of each setting's value.
    pub(crate) settings_at: BTreeMap<String, Range<usize>>,
    pub(crate) config: C,
    /// The names of the input streams, with their spans.
    pub(crate) inputs: Vec<(String, Range<usize>)>,
}

impl<C> Component<C> {
    /// Returns the span of the setting whose name `text` begins with, or else of the component's name.
    pub(crate) fn at(&self, text: &str) -> Range<usize> {
        setting_at(&self.settings_at, text).unwrap_or_else(|| self.name_at.clone())
    }

    /// Returns a diagnostic for each problem of the component's settings, at the span of the setting.
    fn diagnostics(&self, kind: &str, problems: Vec<String>) -> Vec<Diagnostic> {
        let diagnostic = |problem: String| {
            let message = format!("{kind} \"{}\": {problem}", self.name);
            Diagnostic::new(self.at(&problem), message)
        };
        problems.into_iter().map(diagnostic).collect()
    }
}

/// Returns the span of the setting whose name `text` begins with; none if there is no such setting.
fn setting_at(settings_at: &BTreeMap<String, Range<usize>>, text: &str) -> Option<Range<usize>> {
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    let name = text.split(ends).next()?;
    settings_at.get(name).cloned()
}
