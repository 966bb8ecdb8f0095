//! The server: takes connections, with a bound on how many and on how slow, and ends gracefully.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use engine::Shared;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::router::{App, router};

/// Connections at once; more wait to be taken.
const MAX_CONNECTIONS: usize = 1024;
/// A client must have sent its header by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to leave a socket alone that could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is under way may take so long when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("could not listen on {address}")]
    Bind {
        /// The address as the pipeline has it.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The API of a run, on threads of its own.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    runtime: Runtime,
    address: SocketAddr,
}

/// A server that serves.
#[derive(Debug)]
pub struct Serving {
    runtime: Runtime,
    ending: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens, so that a port that is taken is told before anything runs.
    ///
    /// # Errors
    ///
    /// [`ApiError::Bind`] if that fails.
    pub fn bind(address: SocketAddr) -> Result<Self, ApiError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).thread_name("api").enable_all().build()?;
            let address = listener.local_addr()?;
            Ok(Self { listener, runtime, address })
        };
        bind().map_err(|source| ApiError::Bind { address, source })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a run.
    pub fn serve(self, shared: Arc<Shared>) -> Serving {
        let (ending, watched) = watch::channel(false);
        let app = App { shared, ending: watched };
        let accepting = self.runtime.spawn(accept(self.listener, app));
        Serving { runtime: self.runtime, ending, accepting }
    }
}

impl Serving {
    /// Ends: no more connections, a moment for what is under way.
    pub fn end(self) {
        // Nobody left to tell is fine.
        let _ = self.ending.send(true);
        let _ = self.runtime.block_on(self.accepting);
        // WebSockets are on their own by now; each holds a receiver until it has said goodbye. Who is
        // not done in time is cut off.
        let goodbyes = async { tokio::time::timeout(GRACE, self.ending.closed()).await };
        let _ = self.runtime.block_on(goodbyes);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn accept(listener: TcpListener, app: App) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        tracing::error!("could not hand the socket to the runtime");
        return;
    };
    let (mut ending, graceful) = (app.ending.clone(), GracefulShutdown::new());
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = router(app);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            Some(accepted) = accepted => accepted,
            _ = ending.changed() => break,
        };
        match accepted {
            Ok((stream, _)) => serve_connection(stream, permit, &router, &graceful),
            // Too many open files, say: it may pass, and nothing tells when.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Who is not done by then is cut off.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

fn serve_connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: &axum::Router,
    graceful: &GracefulShutdown,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let service = TowerToHyperService::new(router.clone());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
        drop(permit);
    });
}
