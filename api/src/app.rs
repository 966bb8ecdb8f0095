//! The state that all handlers share.

use std::sync::Arc;

use engine::Shared;
use queries::Workers;

use crate::auth::Authenticator;
use crate::metrics::RequestMetrics;
use crate::rate_limits::RateLimits;
use crate::server::ServerState;
use crate::system::Progress;

/// A run, the server that serves it, who may use it, the processes that run its queries, the counts of its requests, and the progress of
/// its components.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: ServerState,
    pub(crate) auth: Authenticator,
    /// The limits of requests; none where nobody signs in.
    pub(crate) limits: Option<Arc<RateLimits>>,
    /// Runs the queries of clients.
    pub(crate) workers: Arc<Workers>,
    /// Runs the queries of resources, which do not wait for those of clients.
    pub(crate) resources: Arc<Workers>,
    pub(crate) requests: Arc<RequestMetrics>,
    pub(crate) progress: Arc<Progress>,
}
