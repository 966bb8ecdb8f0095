//! Time-outs of the server's clients.

use std::time::Duration;

/// Limits of time, from the first byte of a connection on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the accept of a connection until the header of its first request is complete.
    pub(crate) header: Duration,
    /// From the header of a request until its body is complete.
    pub(crate) body: Duration,
    /// A client that neither sends a request nor reads a byte of its response for this long is gone.
    pub(crate) idle: Duration,
    /// Interval of pings on WebSockets and HTTP/2.
    pub(crate) ping: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            ping: Duration::from_secs(20),
        }
    }
}
