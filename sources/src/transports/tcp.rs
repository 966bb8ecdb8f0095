//! TCP: devices connect, and send a stream of records or a capture of a network. The time of a record is
//! the arrival time of its end, and its receiver is the sender's address.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{setsockopt, sockopt};

use crate::framing::framer::{FramedRecord, Framer};
use crate::journal::{Backlog, Origin, Writer};
use crate::transports::push::PushTransport;
use crate::{Decoder, SourceError};

/// Time-out of a poll for bytes.
const PATIENCE: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 64 * 1024;
const EVENTS_AT_ONCE: usize = 256;
/// Maximum number of connected devices.
const MOST_CONNECTIONS: usize = 512;
/// Seconds without data after which the system probes a connection.
const ASK_AFTER_S: u32 = 60;
const LISTENER: Token = Token(0);

/// A port that devices connect to.
pub(super) struct Tcp {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    listener: TcpListener,
    connections: BTreeMap<Token, Connection>,
    /// Connections that may have more to read.
    ready: VecDeque<Token>,
    next: Token,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    sender: IpAddr,
    framer: Framer,
}

impl Tcp {
    /// Listens on `address` for devices whose records `decoder` can decode.
    pub(super) fn bind(
        address: SocketAddr,
        decoder: Box<dyn Decoder>,
    ) -> Result<Self, SourceError> {
        let bind = || {
            let (poll, mut listener) = (Poll::new()?, TcpListener::bind(address)?);
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            Ok((poll, listener))
        };
        let (poll, listener) = bind().map_err(|source| SourceError::Bind { address, source })?;
        Ok(Self {
            address,
            poll,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            listener,
            connections: BTreeMap::new(),
            ready: VecDeque::new(),
            next: Token(LISTENER.0 + 1),
            decoder,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Waits for data or a new connection, unless a connection may have more to read.
    fn wait(&mut self) -> io::Result<()> {
        let patience = if self.ready.is_empty() { PATIENCE } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let tokens: Vec<_> = self.events.iter().map(mio::event::Event::token).collect();
        for token in tokens {
            match token {
                LISTENER => self.accept()?,
                _ if self.ready.contains(&token) => {}
                _ => self.ready.push_back(token),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, address)) => self.connect(stream, address)?,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    // The connection was closed before it was accepted.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    fn connect(&mut self, mut stream: TcpStream, address: SocketAddr) -> io::Result<()> {
        if self.connections.len() >= MOST_CONNECTIONS {
            tracing::warn!(%address, "too many devices are connected");
            return Ok(());
        }
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &ASK_AFTER_S)?;
        let token = self.next;
        self.next = Token(token.0 + 1);
        self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
        let sender = address.ip().to_canonical();
        self.connections.insert(token, Connection { stream, sender, framer: Framer::default() });
        Ok(())
    }

    /// Reads from a connection once.
    fn read(&mut self, token: Token, journal: &mut Writer) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let read = connection.stream.read(&mut self.buffer);
        let append = |piece: FramedRecord<'_>| {
            let sender = Some(piece.sender.unwrap_or(connection.sender));
            journal.append(Origin { sender, ..Origin::default() }, piece.bytes);
        };
        match read {
            Ok(n_bytes @ 1..) => {
                connection.framer.take(&*self.decoder, &self.buffer[..n_bytes], append);
                self.ready.push_back(token);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.ready.push_back(token),
            _ => {
                connection.framer.end(&*self.decoder, append);
                self.connections.remove(&token);
            }
        }
    }
}

impl PushTransport for Tcp {
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        let address = self.address;
        self.wait().map_err(|source| SourceError::Receive { address, source })?;
        for _ in 0..self.ready.len() {
            if let Some(token) = self.ready.pop_front() {
                self.read(token, journal);
            }
        }
        Ok(if self.ready.is_empty() { Backlog::Empty } else { Backlog::More })
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tcp").field("address", &self.address).finish_non_exhaustive()
    }
}
