//! UDP: each datagram holds whole records; their time is the time they came in, and their receiver who sent
//! them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::journal::{Beyond, Origin, Writer};
use crate::transport::unix_ns;
use crate::{Receiver, SourceError};

/// How long to wait for a datagram before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Datagrams taken in one go at most.
const DATAGRAMS_AT_ONCE: usize = 256;
const LARGEST_DATAGRAM: usize = 65_536;

/// A socket that devices send to, and the journal that it fills.
#[derive(Debug)]
pub(super) struct Udp {
    address: SocketAddr,
    socket: UdpSocket,
    folder: PathBuf,
    journal: Writer,
    buffer: Vec<u8>,
}

impl Udp {
    /// Listens on `address`.
    pub(super) fn bind(
        address: SocketAddr,
        folder: &Path,
        journal: Writer,
    ) -> Result<Self, SourceError> {
        let bind = || {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = bind().map_err(|source| SourceError::Bind { address, source })?;
        let (folder, buffer) = (folder.to_owned(), vec![0; LARGEST_DATAGRAM]);
        Ok(Self { address, socket, folder, journal, buffer })
    }

    /// Takes the datagrams that are there; the first is waited for.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn take(&mut self) -> io::Result<Beyond> {
        self.socket.set_nonblocking(false)?;
        for nth in 0..DATAGRAMS_AT_ONCE {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((n_bytes, sender)) => {
                    let (now_ns, message) = (unix_ns(SystemTime::now()), &self.buffer[..n_bytes]);
                    let origin = Origin { sender: Some(sender.ip()), packet: 0 };
                    self.journal.append(now_ns, origin, message);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(Beyond::Nothing),
                    _ => return Err(error),
                },
            }
            if nth == 0 {
                self.socket.set_nonblocking(true)?;
            }
        }
        Ok(Beyond::More)
    }
}

impl Receiver for Udp {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = unix_ns(SystemTime::now());
        let address = self.address;
        let beyond = self.take().map_err(|source| SourceError::Receive { address, source })?;
        let written = self.journal.write(now_ns, beyond);
        written.map_err(|source| SourceError::Journal { folder: self.folder.clone(), source })
    }
}
