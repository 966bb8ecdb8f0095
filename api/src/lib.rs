//! The API of a running pipeline: HTTP, WebSocket, OpenAPI, and a page.

mod accept;
mod analytics;
mod app;
mod client;
mod config;
mod cursor;
mod docs;
mod error;
mod links;
mod metrics;
mod openapi;
mod origins;
mod page;
mod paging;
mod parameters;
mod pose;
mod router;
mod server;
mod sql;
mod stream;
mod system;
mod tap;
mod time;
mod wall_clock;

use std::sync::Arc;

use engine::Shared;

use crate::app::App;

pub use crate::router::openapi;
pub use crate::server::{ApiError, Server, Serving};
pub use crate::system::metrics_of_api;

/// Serves the API of a run.
pub fn serve(server: Server, run: Arc<Shared>) -> Serving {
    server.serve(|server| {
        let (workers, resources, requests) = Default::default();
        router::router(App { shared: run, server, workers, resources, requests })
    })
}
