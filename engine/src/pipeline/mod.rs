//! Pipeline files: what they may say, and what they mean.

mod diagnostic;
mod duration;
mod graph;
mod parse;
mod plan;
mod schema;
mod tagged;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::Range;

use operators::OperatorConfig;
use schemars::JsonSchema;
use schemas::TickLength;
use serde::Deserialize;
use sinks::SinkConfig;
use sources::SourceConfig;

pub use crate::pipeline::diagnostic::{Diagnostic, PipelineError};
pub use crate::pipeline::duration::Milliseconds;
pub use crate::pipeline::plan::{Plan, PlannedOperator, PlannedSink, PlannedSource, StreamName};
pub use crate::pipeline::schema::json_schema;

/// The schemes of stores that are not files.
const SERVERS: [&str; 2] = ["postgres://", "postgresql://"];
const MAX_CHECKPOINT: Milliseconds = Milliseconds(24 * 3_600_000);
const MAX_RETENTION: usize = 1000;

/// A pipeline file that was read; its names are not resolved yet.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// The step of event time.
    pub tick_length: TickLength,
    /// The most milliseconds of event time that a source may be ahead of the slowest sink.
    pub max_lead_ms: u64,
    /// The most mebibytes of each partition that the slowest sink has not accepted.
    pub max_in_flight_mib: NonZeroUsize,
    /// When and where checkpoints are made.
    pub checkpoint: CheckpointConfig,
    /// The address of the API, if it is served.
    pub api: Option<ApiConfig>,
    pub(crate) sources: Vec<Component<SourceConfig>>,
    pub(crate) operators: Vec<Component<OperatorConfig>>,
    pub(crate) sinks: Vec<Component<SinkConfig>>,
}

/// When and where checkpoints are made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// The store: a file (`"fresnel.db"` by default), or a URL such as `"postgres://user@host/name"`.
    pub store: String,
    /// Time from one checkpoint to the next; `"1s"` by default.
    pub interval: Milliseconds,
    /// Event time from one place that can be resumed from to the next; `"1s"` by default.
    pub granule: Milliseconds,
    /// Checkpoints that are kept, in case the newest is damaged; 3 by default.
    pub retention: NonZeroUsize,
}

impl CheckpointConfig {
    /// The store, if it is a file.
    pub(crate) fn store_file(&self) -> Option<&str> {
        let is_server = SERVERS.iter().any(|scheme| self.store.starts_with(scheme));
        (!is_server).then_some(&self.store)
    }

    /// The first invalid setting, with the expected values; begins with the name of the setting.
    fn problem(&self) -> Option<String> {
        let too_long = [
            ("interval", self.interval, "output is not durable before a checkpoint"),
            ("granule", self.granule, "a run goes on from the end of a granule only"),
        ];
        for (name, length, why) in too_long {
            if length > MAX_CHECKPOINT {
                return Some(format!(
                    "{name} must be at most {MAX_CHECKPOINT}, not {length}: {why}"
                ));
            }
        }
        let retention = self.retention;
        (retention.get() > MAX_RETENTION).then(|| {
            format!(
                "retention must be at most {MAX_RETENTION}, not {retention}: journals keep what the \
                 oldest checkpoint needs"
            )
        })
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            store: "fresnel.db".to_owned(),
            interval: Milliseconds(1000),
            granule: Milliseconds(1000),
            retention: const { NonZeroUsize::new(3).expect("3 is not zero") },
        }
    }
}

/// The address of the API.
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
    /// The span of each setting's value.
    pub(crate) settings_at: BTreeMap<String, Range<usize>>,
    pub(crate) config: C,
    /// The names of its inputs, and where each is.
    pub(crate) inputs: Vec<(String, Range<usize>)>,
}

impl<C> Component<C> {
    /// The span of the setting that a text begins with, or of the component's name.
    pub(crate) fn at(&self, text: &str) -> Range<usize> {
        setting_at(&self.settings_at, text).unwrap_or_else(|| self.name_at.clone())
    }

    /// A problem of the component's settings, at their place.
    fn diagnostic(&self, kind: &str, problem: Option<String>) -> Option<Diagnostic> {
        let problem = problem?;
        let message = format!("{kind} \"{}\": {problem}", self.name);
        Some(Diagnostic::new(self.at(&problem), message))
    }
}

/// The span of the setting that a text begins with.
fn setting_at(settings_at: &BTreeMap<String, Range<usize>>, text: &str) -> Option<Range<usize>> {
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    let name = text.split(ends).next()?;
    settings_at.get(name).cloned()
}
