//! A network interface: takes in what is sent over it to a port, whoever it is sent to. That needs a
//! capability, `CAP_NET_RAW`.
//!
//! Source: packet(7).

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, socket};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::SourceError;
use crate::framing::network;
use crate::journal::{Backlog, Origin, Writer};
use crate::transports::datagrams::{Datagram, Datagrams};
use crate::transports::push::PushTransport;

/// What the system says of packets that leave by an interface.
const OUTGOING: u8 = 4;

/// The address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkInterface {
    /// The interface, such as "wlan0".
    pub name: String,
    /// The UDP port that datagrams are sent to; Nexmon's 5500 by default.
    #[serde(default = "default_port")]
    pub port: u16,
}

fn default_port() -> u16 {
    5500
}

/// Everything that comes in, of which the datagrams to a port over one interface are taken.
#[derive(Debug)]
pub(super) struct Interface {
    settings: NetworkInterface,
    index: usize,
    packets: Datagrams,
}

impl Interface {
    pub(super) fn open(interface: &NetworkInterface) -> Result<Self, SourceError> {
        let open = || {
            let index = if_nametoindex(interface.name.as_str())? as usize;
            let (family, protocol) = (AddressFamily::Packet, SockProtocol::EthAll);
            // Without the headers of links, so that a packet begins with what IP says.
            let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
            Ok(Self { settings: interface.clone(), index, packets: Datagrams::new(socket)? })
        };
        open().map_err(|error| failed(interface, error))
    }
}

fn failed(interface: &NetworkInterface, error: Errno) -> SourceError {
    SourceError::Interface { name: interface.name.clone(), source: error.into() }
}

impl PushTransport for Interface {
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        let (index, port) = (self.index, self.settings.port);
        // What the system had no room for may have come over any interface: that is not told.
        let taken = self.packets.take(|Datagram { payload, from, .. }| {
            let is_ours = |from: LinkAddr| from.ifindex() == index && from.pkttype() != OUTGOING;
            let datagram = network::datagram(payload).filter(|it| it.to_port == port);
            if let Some(datagram) = datagram.filter(|_| from.is_some_and(is_ours)) {
                let origin = Origin { sender: Some(datagram.sender), ..Origin::default() };
                journal.append(origin, datagram.payload);
            }
        });
        taken.map_err(|error| failed(&self.settings, error))
    }
}
