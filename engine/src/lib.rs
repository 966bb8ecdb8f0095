//! The engine: turns a pipeline file into a checked plan, and the plan into a timely dataflow.
//!
//! The engine owns threads, bounded queues, retries, flow control, counters and the end of a run; sources,
//! operators and sinks do not.

mod clear;
mod counters;
mod dataflow;
mod error;
mod fail_point;
mod latencies;
mod metrics;
mod paths;
mod pipeline;
mod plain_words;
mod record;
mod routers;
mod run;
mod store;
mod taps;

pub use crate::clear::ClearError;
pub(crate) use crate::clear::{JOURNALS, journals};
pub use crate::counters::{Counters, Counts};
pub use crate::error::{Mismatch, RunError};
pub use crate::metrics::{MetricKind, Metrics};
pub use crate::pipeline::{
    ApiConfig, Auth, CheckpointConfig, Diagnostic, IssuerConfig, Network, Origin, Pipeline,
    PipelineError, Plan, PlannedOperator, PlannedSink, PlannedSource, PostgresConfig, RateLimits,
    StreamName, Template, TemplateError, TlsConfig, json_schema,
};
pub use crate::plain_words::plain_words;
pub use crate::record::record;
pub use crate::routers::{Router, RouterSettings, Routers};
pub(crate) use crate::run::Placement;
pub use crate::run::{
    Cluster, Configuration, ConfigurationError, Ended, Health, Retry, Run, RunBuilder, RunOptions,
    Shared, Summary, WhenAlive,
};
pub use crate::store::{
    AccountStore, Checkpoint, ComponentState, ItemKind, ItemStore, Listed, State, Store,
    StoreError, StoreHandle, TemplateStore,
};
pub use crate::taps::{Tap, Tapped, Taps};
pub use operators::{OperatorConfig, ZoneConfig};
pub use schemas::Progress;
pub use sinks::forget;
pub use sources::CsiFormat;
pub use sources::position::UNKNOWN_DEVICES;
