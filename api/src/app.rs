//! The state that all handlers share.

use std::sync::Arc;

use engine::Shared;

use crate::server::ServerState;

/// A run, and the server that serves it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: ServerState,
}
