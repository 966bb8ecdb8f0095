//! The state that all handlers share.

use std::sync::Arc;

use engine::Shared;
use queries::Workers;

use crate::metrics::RequestMetrics;
use crate::server::ServerState;

/// A run, the server that serves it, the processes that run its queries, and the counts of its requests.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: ServerState,
    /// Runs the queries of clients.
    pub(crate) workers: Arc<Workers>,
    /// Runs the queries of resources, which do not wait for those of clients.
    pub(crate) resources: Arc<Workers>,
    pub(crate) requests: Arc<RequestMetrics>,
}
