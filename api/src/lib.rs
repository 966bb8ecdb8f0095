//! How a running pipeline is reached: HTTP, WebSocket, OpenAPI, and one page to look at.

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
