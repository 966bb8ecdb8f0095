//! Notices that a client has hung up while its query runs and nobody reads from the connection.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// The end of a connection, as the system reports it.
#[derive(Debug)]
pub(super) struct Hangup(TcpStream);

impl Hangup {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        let socket = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        Ok(Self(TcpStream::from_std(socket)?))
    }

    /// Waits until the client has closed its side of the connection.
    pub(super) async fn wait(&self) {
        while let Ok(ready) = self.0.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Bytes that the client has sent ahead are for others. The system reports the end after them, too.
            let not_read = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = self.0.try_io(Interest::READABLE, not_read);
        }
    }
}
