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
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use engine::{ApiConfig, PostgresConfig, TlsConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::postgres::Postgres;
use crate::server::acceptor::{Acceptor, Service};

pub(crate) use crate::server::activity::Activity;
pub(crate) use crate::server::connections::{Connections, SessionKind};
pub(crate) use crate::server::socket::Socket;
pub(crate) use crate::server::timeouts::Timeouts;
pub use crate::server::tls::TlsError;
pub(crate) use crate::server::tls::{IsEncrypted, Stream};

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
    /// The certificate of the server cannot be used.
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
}

/// The API of a run, on threads of its own.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    runtime: Runtime,
    connections: Arc<Connections>,
}

/// An address that the server listens on.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    protocol: Protocol,
    /// Present if connections are encrypted, or may be.
    tls: Option<Arc<ServerConfig>>,
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Postgres,
}

/// What serves connections.
pub(crate) struct Services {
    pub(crate) http: Router,
    pub(crate) postgres: Postgres,
}

/// State of the server for its handlers.
#[derive(Clone, Debug)]
pub(crate) struct ServerState {
    /// True if only clients on this host reach it.
    pub(crate) is_on_loopback: bool,
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
    accepting: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds the addresses, so that a taken port is reported before anything runs. Raises the process's limit
    /// of open files to its hard limit; half of the files are for connections. Files are relative to
    /// `directory`.
    ///
    /// # Errors
    ///
    /// [`ApiError::Bind`] if the server cannot listen on an address or start its threads; [`ApiError::Tls`] if
    /// its certificate cannot be used.
    pub fn bind(config: &ApiConfig, directory: &Path) -> Result<Self, ApiError> {
        let failed = |source| ApiError::Bind { address: config.listen, source };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).thread_name("api").enable_all();
        let runtime = runtime.build().map_err(failed)?;
        let entered = runtime.enter();
        let tls = |protocols| {
            let load = |TlsConfig { certificate, key, .. }: &TlsConfig| {
                tls::load(&directory.join(certificate), &directory.join(key), protocols)
            };
            config.tls.as_ref().map(load).transpose()
        };
        let mut listeners = vec![Listener::bind(config.listen, Protocol::Http, None)?];
        if let Some(TlsConfig { listen, .. }) = &config.tls {
            listeners.push(Listener::bind(*listen, Protocol::Http, tls(tls::HTTP)?)?);
        }
        if let Some(PostgresConfig { listen }) = &config.postgres {
            listeners.push(Listener::bind(*listen, Protocol::Postgres, tls(tls::POSTGRES)?)?);
        }
        drop(entered);
        let limit = descriptors::raise_limit();
        let connections = Arc::new(Connections::with_descriptors(limit));
        Ok(Self { listeners, runtime, connections })
    }

    /// Returns the URLs that the server listens on; for port 0, with the assigned port.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.listeners.iter().map(|listener| {
            let scheme = match (listener.protocol, &listener.tls) {
                (Protocol::Http, None) => "http",
                (Protocol::Http, Some(_)) => "https",
                (Protocol::Postgres, _) => "postgres",
            };
            format!("{scheme}://{}", listener.address)
        })
    }

    /// Serves what `services` returns for the server's state.
    pub(crate) fn serve(self, services: impl FnOnce(ServerState) -> Services) -> Serving {
        let Self { listeners, runtime, connections } = self;
        let (ending, watched) = watch::channel(false);
        let timeouts = Timeouts::default();
        let state = ServerState {
            is_on_loopback: listeners.iter().all(|listener| listener.address.ip().is_loopback()),
            ending: watched.clone(),
            connections: Arc::clone(&connections),
            timeouts,
        };
        // What serves the API may start tasks.
        let entered = runtime.enter();
        let Services { http, postgres } = services(state);
        let accepting = listeners.into_iter().map(|Listener { socket, protocol, tls, .. }| {
            let service = match protocol {
                Protocol::Http => Service::Http(http.clone()),
                Protocol::Postgres => Service::Postgres(postgres.clone()),
            };
            let (connections, ending) = (Arc::clone(&connections), watched.clone());
            let acceptor = Acceptor { service, connections, timeouts, ending };
            runtime.spawn(acceptor.run(socket, tls.map(TlsAcceptor::from)))
        });
        let accepting = accepting.collect();
        drop(watched);
        drop(entered);
        Serving { runtime, ending, accepting }
    }
}

impl Listener {
    /// Listens; must be called within a runtime.
    fn bind(
        address: SocketAddr,
        protocol: Protocol,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self, ApiError> {
        let bound = listen(address).and_then(|socket| {
            let address = socket.local_addr()?;
            Ok(Self { socket, address, protocol, tls })
        });
        bound.map_err(|source| ApiError::Bind { address, source })
    }
}

impl Serving {
    /// Stops accepting connections, and waits up to 5 s for open ones to finish.
    pub fn end(self) {
        // An error means that no receiver is left, which is fine.
        let _ = self.ending.send(true);
        for accepting in self.accepting {
            let _ = self.runtime.block_on(accepting);
        }
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
