//! UDP: each datagram holds whole records; their time is the time they came in.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use schemas::SourceKind;

use crate::transport::{Ingress, unix_ns};
use crate::{Decoder, Intake, Poll, Source, SourceError, Step};

/// How long to wait for a datagram before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Datagrams taken in one poll at most.
const DATAGRAMS_PER_POLL: usize = 256;
const LARGEST_DATAGRAM: usize = 65_536;

/// A socket that devices send to.
pub(crate) struct Udp {
    address: SocketAddr,
    socket: UdpSocket,
    decoder: Box<dyn Decoder>,
    intake: Intake,
    buffer: Vec<u8>,
    n_datagrams: u64,
}

impl Udp {
    /// Listens on `address`.
    pub(crate) fn bind(address: SocketAddr, ingress: &Ingress<'_>) -> Result<Self, SourceError> {
        let intake = ingress.intake(SourceKind::Live).starting_at(ingress.context.starts_at);
        Self::new(address, (ingress.decoder)(), intake)
    }

    fn new(
        address: SocketAddr,
        decoder: Box<dyn Decoder>,
        intake: Intake,
    ) -> Result<Self, SourceError> {
        let bind = || {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = bind().map_err(|source| SourceError::Bind { address, source })?;
        let buffer = vec![0; LARGEST_DATAGRAM];
        Ok(Self { address, socket, decoder, intake, buffer, n_datagrams: 0 })
    }

    /// Decodes the first `n_bytes` of the buffer, which came in at `now_ns`.
    fn decode(&mut self, n_bytes: usize, now_ns: i64) {
        self.intake.set_arrival(now_ns);
        let mut rest = &self.buffer[..n_bytes];
        while !rest.is_empty() {
            let used = match self.decoder.decode(rest, true, &mut self.intake) {
                Step::Used(used) => used,
                Step::Bad(used, error) => {
                    self.intake.drop_record(error.reason(), self.n_datagrams);
                    used
                }
                Step::NeedsMore => break,
            };
            rest = &rest[used..];
        }
        self.n_datagrams += 1;
    }
}

impl Source for Udp {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn poll(&mut self) -> Result<Poll, SourceError> {
        for n_taken in 0..DATAGRAMS_PER_POLL {
            // The first datagram is waited for; the others are taken if they are there.
            let waits = n_taken == 0;
            let received = self
                .socket
                .set_nonblocking(!waits)
                .and_then(|()| self.socket.recv(&mut self.buffer));
            let now_ns = unix_ns(SystemTime::now());
            match received {
                Ok(n_bytes) => self.decode(n_bytes, now_ns),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    // Asked, and nothing was there: nothing can come in before now any more.
                    self.intake.advance_to(now_ns);
                    return Ok(self.intake.take());
                }
                Err(source) => return Err(SourceError::Receive { address: self.address, source }),
            }
        }
        Ok(self.intake.take())
    }

    fn live(&self) -> bool {
        true
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Udp").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Record, SourceKind};

    use super::*;
    use crate::{CsiFormat, Dropped, LinkNames, SourceContext};

    #[test]
    fn takes_datagrams_and_counts_garbage() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let context = SourceContext::detached("test");
        let intake = Intake::new(LinkNames::default(), SourceKind::Live, &context);
        let mut udp = Udp::new(any, CsiFormat::Esp32.decoder(), intake).expect("a free port");
        let address = udp.socket.local_addr().expect("bound");
        let sender = UdpSocket::bind(any).expect("a free port");
        let line = "CSI_DATA,9,94:d9:b3:80:8c:81,-30,11,-93,7,24,6,2751923,67,0,4,1,\"[1,-2]\"";
        for datagram in [line.as_bytes(), b"CSI_DATA,\xFF", b"", b"noise"] {
            sender.send_to(datagram, address).expect("loopback takes it");
        }
        let (mut records, mut dropped) = (Vec::new(), Vec::new());
        while udp.n_datagrams < 4 {
            let poll = udp.poll().expect("the socket is open");
            records.extend(poll.records);
            dropped.extend(poll.dropped);
        }
        let [(_, Record::Csi(batch))] = &records[..] else { panic!("one frame") };
        assert!(batch.captured_at_ns[0] > 0, "stamped with the time of arrival");
        assert_eq!(dropped, [Dropped { reason: "no list of values", offset: 1 }]);
    }
}
