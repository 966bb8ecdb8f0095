//! The API of a running pipeline: HTTP, WebSocket, OpenAPI, and a page.

mod accept;
mod app;
mod config;
mod docs;
mod error;
mod page;
mod parameters;
mod pose;
mod router;
mod server;
mod sql;
mod stream;
mod system;
mod tap;
mod wall_clock;

use std::sync::Arc;

use engine::Shared;

use crate::app::App;

pub use crate::router::openapi;
pub use crate::server::{ApiError, Server, Serving};

/// Serves the API of a run.
pub fn serve(server: Server, run: Arc<Shared>) -> Serving {
    server.serve(|server| router::router(App { shared: run, server }))
}
