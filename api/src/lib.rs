//! The API of a running pipeline: HTTP, WebSocket, OpenAPI, and a page.

mod config;
mod error;
mod page;
mod pose;
mod router;
mod server;
mod sql;
mod stream;
mod system;
mod tap;

pub use crate::router::openapi;
pub use crate::server::{ApiError, Server, Serving};
