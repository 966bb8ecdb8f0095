//! Opens the sources, sinks and checkpoint log of a plan.

use std::fmt::Debug;

use sinks::{OpenSink, SinkContext, SinkError};
use sources::{Partition, SourceContext, SourceError};

use crate::store::{CommitLog, Session};
use crate::{PlannedSink, PlannedSource};

/// The sources, sinks and commit log of a run. Simulations have their own.
pub(crate) trait Connectors: Debug + Send + Sync {
    /// Opens the partitions of a source that are in the context's share.
    fn open_source(
        &self,
        source: &PlannedSource,
        context: &SourceContext<'_>,
    ) -> Result<Vec<Partition>, SourceError>;

    /// Opens a sink.
    fn open_sink(
        &self,
        sink: &PlannedSink,
        context: &SinkContext<'_>,
    ) -> Result<OpenSink, SinkError>;

    /// The log of a session's checkpoints.
    fn commit_log(&self, session: Session) -> Box<dyn CommitLog>;
}

/// Opens sources and sinks by the plan's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedConnectors;

impl Connectors for PlannedConnectors {
    fn open_source(
        &self,
        source: &PlannedSource,
        context: &SourceContext<'_>,
    ) -> Result<Vec<Partition>, SourceError> {
        source.config.open(context)
    }

    fn open_sink(
        &self,
        sink: &PlannedSink,
        context: &SinkContext<'_>,
    ) -> Result<OpenSink, SinkError> {
        sink.config.open(context)
    }

    fn commit_log(&self, session: Session) -> Box<dyn CommitLog> {
        Box::new(session)
    }
}
