//! The datagrams in captured packets.
//!
//! Source: tcpdump.org "Link-layer header types", RFC 791, RFC 8200, RFC 768.

use std::net::IpAddr;

pub(super) const UDP: u8 = 17;
const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86DD;
/// Tags of virtual networks.
const ETHER_VLAN: [u16; 2] = [0x8100, 0x88A8];

/// A packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// Nanoseconds since the Unix epoch, if the capture contains it.
    pub(crate) captured_at_ns: Option<i64>,
    /// The sender of a datagram.
    pub(crate) sender: Option<IpAddr>,
    /// The payload, if the packet is a datagram.
    pub(crate) payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// Reads the packet in a link-layer frame.
    pub(super) fn new(captured_at_ns: Option<i64>, link_type: u32, frame: &'a [u8]) -> Self {
        let datagram = ip_packet(link_type, frame).and_then(datagram);
        let (sender, payload) = datagram.map(|it| (it.sender, it.payload)).unzip();
        Self { captured_at_ns, sender, payload }
    }
}

/// Returns the IP packet in a link-layer frame, if there is one.
fn ip_packet(link_type: u32, frame: &[u8]) -> Option<&[u8]> {
    let (mut protocol_at, mut packet_at) = match link_type {
        // Ethernet.
        1 => (12, 14),
        // Bare IP; loopback of BSD; cooked by Linux, versions 1 and 2.
        101 | 228 | 229 => return Some(frame),
        0 | 108 => return frame.get(4..),
        113 => (14, 16),
        276 => (0, 20),
        _ => return None,
    };
    let protocol = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    while ETHER_VLAN.contains(&protocol(protocol_at)?) {
        (protocol_at, packet_at) = (protocol_at + 4, packet_at + 4);
    }
    let is_ip = [ETHER_IPV4, ETHER_IPV6].contains(&protocol(protocol_at)?);
    frame.get(packet_at..).filter(|_| is_ip)
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    pub(crate) sender: IpAddr,
    pub(crate) to_port: u16,
    pub(crate) payload: &'a [u8],
}

/// Returns the UDP datagram in an IP packet, if there is a whole one.
pub(crate) fn datagram(packet: &[u8]) -> Option<Datagram<'_>> {
    let (protocol, sender, header_bytes): (u8, IpAddr, usize) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3FFF;
            let sender = [header[12], header[13], header[14], header[15]];
            let whole = fragment == 0;
            whole.then_some((header[9], sender.into(), usize::from(header[0] & 0xF) * 4))?
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            (header[6], header[8..24].first_chunk::<16>().copied()?.into(), 40)
        }
        _ => return None,
    };
    let udp = packet.get(header_bytes..).filter(|_| protocol == UDP)?;
    let number = |at: usize| Some(u16::from_be_bytes(*udp.get(at..)?.first_chunk()?));
    let (to_port, n_bytes) = (number(2)?, usize::from(number(4)?));
    // Frames may be padded, and captures cut.
    let payload = udp.get(8..n_bytes.clamp(8, udp.len().max(8)))?;
    Some(Datagram { sender, to_port, payload })
}
