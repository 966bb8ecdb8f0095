//! The server: accepts connections, limits their number and the time of slow clients, and ends gracefully.

mod acceptor;
mod activity;
mod connections;
mod descriptors;
mod framing;
mod socket;
#[cfg(test)]
mod tests;
mod timeouts;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::server::acceptor::Acceptor;

pub(crate) use crate::server::activity::Activity;
pub(crate) use crate::server::connections::{Connections, SessionKind};
pub(crate) use crate::server::timeouts::Timeouts;

/// Connections that the system queues until they are accepted.
const BACKLOG: u32 = 1024;
/// Size of the system's send and receive buffers of a connection; Linux doubles it.
const SOCKET_BUFFER_BYTES: u32 = 128 * 1024;
/// Time for open connections to finish when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// An error that prevents the API from being served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The server cannot listen on the address.
    #[error("could not listen on {address}; --listen chooses another address")]
    Bind {
        /// The address, as the pipeline sets it.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

/// The API of a run, on threads of its own.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    runtime: Runtime,
    address: SocketAddr,
    connections: Arc<Connections>,
}

/// State of the server for its handlers.
#[derive(Clone, Debug)]
pub(crate) struct ServerState {
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
    /// True when the server ends.
    pub(crate) ending: watch::Receiver<bool>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) timeouts: Timeouts,
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    runtime: Runtime,
    ending: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Binds the address, so that a taken port is reported before anything runs. Raises the process's limit
    /// of open files to its hard limit; half of the files are for connections.
    ///
    /// # Errors
    ///
    /// [`ApiError::Bind`] if the server cannot listen on the address or start its threads.
    pub fn bind(address: SocketAddr) -> Result<Self, ApiError> {
        let bind = || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).thread_name("api").enable_all().build()?;
            let listener = runtime.block_on(async { listen(address) })?;
            let address = listener.local_addr()?;
            let limit = descriptors::raise_limit();
            let connections = Arc::new(Connections::with_descriptors(limit));
            Ok(Self { listener, runtime, address, connections })
        };
        bind().map_err(|source| ApiError::Bind { address, source })
    }

    /// Returns the address that the server listens on; for port 0, with the assigned port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the routes that `router` returns for the server's state.
    pub(crate) fn serve(self, router: impl FnOnce(ServerState) -> Router) -> Serving {
        let Self { listener, runtime, address, connections } = self;
        let (ending, watched) = watch::channel(false);
        let timeouts = Timeouts::default();
        let state = ServerState {
            address,
            ending: watched.clone(),
            connections: Arc::clone(&connections),
            timeouts,
        };
        // What serves the API may start tasks.
        let _entered = runtime.enter();
        let acceptor = Acceptor { router: router(state), connections, timeouts, ending: watched };
        let accepting = runtime.spawn(acceptor.run(listener));
        Serving { runtime, ending, accepting }
    }
}

impl Serving {
    /// Stops accepting connections, and waits up to 5 s for open ones to finish.
    pub fn end(self) {
        // An error means that no receiver is left, which is fine.
        let _ = self.ending.send(true);
        let _ = self.runtime.block_on(self.accepting);
        // Each connection and each WebSocket keeps a receiver until it has ended. Connections that exceed the
        // limit are cut off.
        let goodbyes = async { tokio::time::timeout(GRACE, self.ending.closed()).await };
        let _ = self.runtime.block_on(goodbyes);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the following options.
    socket.set_keepalive(true)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
