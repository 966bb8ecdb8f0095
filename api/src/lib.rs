//! The API of a running pipeline: HTTP, WebSocket, OpenAPI, and a page.

mod accept;
mod analytics;
mod app;
mod auth;
mod caching;
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
mod postgres;
mod rate_limits;
mod router;
mod server;
mod sql;
mod stream;
mod system;
mod tap;
mod time;
mod version;
mod wall_clock;
mod windows;

use std::sync::Arc;

use engine::Shared;

use crate::analytics::reports;
use crate::app::App;
use crate::auth::Authenticator;
use crate::postgres::Postgres;
use crate::rate_limits::RateLimits;
use crate::server::Services;
use crate::system::Progress;

pub use crate::router::openapi;
pub use crate::server::{ApiError, Server, Serving, TlsError};
pub use crate::system::metrics::metrics_of_api;

/// Serves the API of a run. If its store has no users yet, adds one, and announces name and password.
pub fn serve(
    server: Server,
    run: Arc<Shared>,
    announce: impl FnOnce(&str, &str) + Send + 'static,
) -> Serving {
    queries::remove_abandoned_files();
    server.serve(|server| {
        let auth = Authenticator::new(run.plan.api.as_ref(), &run.accounts);
        let limits = RateLimits::new(run.plan.api.as_ref()).map(Arc::new);
        tokio::spawn(auth.clone().add_first_user(announce));
        let (workers, resources, requests) = Default::default();
        let progress = Arc::<Progress>::default();
        let (watched, counters) = (Arc::clone(&progress), Arc::clone(&run.counters));
        let ending = server.ending.clone();
        tokio::spawn(async move { watched.watch(&counters, ending).await });
        let app = App { shared: run, server, auth, limits, workers, resources, requests, progress };
        tokio::spawn(reports::resume(app.clone()));
        Services { http: router::router(app.clone()), postgres: Postgres::new(app) }
    })
}
