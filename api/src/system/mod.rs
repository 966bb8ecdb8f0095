//! The pipeline itself: its health, counters, performance and metrics.

pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod performance;
mod progress;
pub(crate) mod routers;
pub(crate) mod status;

pub(crate) use crate::system::progress::Progress;
