//! A network interface: receives datagrams to a port, whatever host they are addressed to. This requires
//! the capability `CAP_NET_RAW`.
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

/// The system's type of packets that leave by an interface.
const OUTGOING: u8 = 4;

/// The network interface and the port to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkInterface {
    /// Name of the interface, such as "wlan0".
    pub name: String,
    /// The UDP port that datagrams are sent to; 5500 by default, as Nexmon uses.
    #[serde(default = "default_port")]
    pub port: u16,
}

fn default_port() -> u16 {
    5500
}

/// A socket that receives all packets. It records only datagrams to one port over one interface.
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
            // Without link-layer headers, so that a packet begins with its IP header.
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
        // Datagrams that the system dropped are not counted: they may be from any interface.
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
