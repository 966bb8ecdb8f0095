//! UDP: each datagram contains whole records. Their time is the arrival time, and their receiver is the
//! sender's address.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::sys::socket::SockaddrStorage;

use crate::SourceError;
use crate::journal::{Backlog, Origin, Writer};
use crate::transports::datagrams::{Datagram, Datagrams};
use crate::transports::push::PushTransport;

/// A socket that devices send to.
#[derive(Debug)]
pub(super) struct Udp {
    address: SocketAddr,
    datagrams: Datagrams,
}

impl Udp {
    /// Listens on `address`.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, SourceError> {
        let bind = || Ok(Datagrams::new(UdpSocket::bind(address)?.into())?);
        let datagrams = bind().map_err(|source| SourceError::Bind { address, source })?;
        Ok(Self { address, datagrams })
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let of_4 = address.as_sockaddr_in().map(|address| address.ip().into());
    of_4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

impl PushTransport for Udp {
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        let taken = self.datagrams.take(|Datagram { payload, from, n_lost }| {
            let origin = Origin { sender: from.as_ref().and_then(ip), ..Origin::default() };
            journal.skip(u64::from(n_lost));
            journal.append(origin, payload);
        });
        let address = self.address;
        taken.map_err(|error| SourceError::Receive { address, source: error.into() })
    }
}
