//! The older file format, pcap.
//!
//! Source: IETF draft-ietf-opsawg-pcap.

use serde::{Deserialize, Serialize};

use crate::framing::network::byte_order::ByteOrder;
use crate::framing::network::packet::Packet;
use crate::{DecodeError, Split};

pub(super) const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;
/// No link has longer packets; a larger length is damage.
const LONGEST_PACKET: usize = 256 * 1024;
const MAGIC_US: u32 = 0xA1B2_C3D4;
const MAGIC_NS: u32 = 0xA1B2_3C4D;

/// The format of a network capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pcap {
    order: ByteOrder,
    ns_per_fraction: u32,
    /// Longer packets are cut to this length.
    longest: u32,
    link_type: u32,
}

/// Returns the possible first bytes of captures.
pub(super) fn magics() -> impl Iterator<Item = [u8; 4]> {
    [MAGIC_US, MAGIC_NS].into_iter().flat_map(|magic| [magic.to_le_bytes(), magic.to_be_bytes()])
}

/// Returns the format of a capture that starts with `bytes`, if one does.
pub(super) fn begins(bytes: &[u8]) -> Option<Pcap> {
    let magic = *bytes.first_chunk()?;
    let (order, magic) = ByteOrder::of(magic, &[MAGIC_US, MAGIC_NS])?;
    let ns_per_fraction = if magic == MAGIC_NS { 1 } else { 1000 };
    let header: &[u8; FILE_HEADER_BYTES] = bytes.first_chunk()?;
    let longest = order.long(header, 16);
    // The upper bits describe checksums at the end of frames.
    let link_type = order.long(header, 20) & 0xFFFF;
    Some(Pcap { order, ns_per_fraction, longest, link_type })
}

impl Pcap {
    /// Finds the end of the first packet.
    pub(super) fn split(&self, bytes: &[u8], complete: bool) -> Split {
        let Some(header) = bytes.first_chunk::<PACKET_HEADER_BYTES>() else {
            return Split::missing(bytes, complete);
        };
        let n_bytes = PACKET_HEADER_BYTES + self.order.long(header, 8) as usize;
        // A damaged length may exceed the rest of the input.
        let too_long = complete && bytes.len() < n_bytes;
        if !self.is_plausible(header) || too_long {
            let (margin, error) = (PACKET_HEADER_BYTES, DecodeError::Length);
            return Split::resume(bytes, complete, margin, error, |bytes| self.begins(bytes));
        }
        if bytes.len() < n_bytes { Split::missing(bytes, complete) } else { Split::Record(n_bytes) }
    }

    /// True if a packet seems to begin here: after it another packet begins, or the input ends.
    fn begins(&self, bytes: &[u8]) -> bool {
        let header = bytes.first_chunk().filter(|header| self.is_plausible(header));
        let Some(header) = header else { return false };
        let behind = bytes.get(PACKET_HEADER_BYTES + self.order.long(header, 8) as usize..);
        behind.is_some_and(|behind| {
            behind.is_empty()
                || behind.first_chunk().is_some_and(|header| self.is_plausible(header))
        })
    }

    /// True if the time is valid, and the packet is as long as the sent one or cut to the limit.
    fn is_plausible(&self, header: &[u8; PACKET_HEADER_BYTES]) -> bool {
        let [fraction, captured, sent] = [4, 8, 12].map(|at| self.order.long(header, at));
        let fractions = 1_000_000_000 / self.ns_per_fraction;
        let whole = captured == sent || (captured == self.longest && captured < sent);
        fraction < fractions && captured > 0 && whole && sent as usize <= LONGEST_PACKET
    }

    /// Reads a packet that [`Pcap::split`] has found.
    pub(super) fn packet<'a>(&self, record: &'a [u8]) -> Packet<'a> {
        let seconds = i64::from(self.order.long(record, 0));
        let fraction = i64::from(self.order.long(record, 4));
        let captured_at_ns = seconds * 1_000_000_000 + fraction * i64::from(self.ns_per_fraction);
        let frame = record.get(PACKET_HEADER_BYTES..).unwrap_or_default();
        Packet::new(Some(captured_at_ns), self.link_type, frame)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::framing::network::packet::UDP;

    const PAYLOAD: &[u8] = b"hello";

    fn number(big_endian: bool, number: u32) -> [u8; 4] {
        if big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    /// A capture of one packet at 1.5 s.
    fn capture(
        big_endian: bool,
        magic: u32,
        fraction: u32,
        link_type: u32,
        frame: &[u8],
    ) -> Vec<u8> {
        let n_bytes = u32::try_from(frame.len()).expect("short");
        let header = [magic, 0x0002_0004, 0, 0, 65_535, link_type, 1, fraction, n_bytes, n_bytes];
        let mut bytes: Vec<u8> = header.into_iter().flat_map(|it| number(big_endian, it)).collect();
        bytes.extend(frame);
        bytes
    }

    fn ipv4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 33, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 7, 10, 0, 0, 1];
        packet.extend([0x15, 0x7C, 0x15, 0x7C, 0, 13, 0, 0]);
        packet.extend(PAYLOAD);
        packet
    }

    fn ipv6() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 13, UDP, 64];
        packet.extend([[0; 15].as_slice(), &[1], &[0; 15], &[1]].concat());
        packet.extend(&ipv4()[20..]);
        packet
    }

    fn framed(header: &[u8], packet: &[u8]) -> Vec<u8> {
        // Padded, as short frames are.
        [header, packet, &[0; 9]].concat()
    }

    /// A datagram with its headers.
    pub(crate) fn packet(payload: &[u8]) -> Vec<u8> {
        let n_udp = u16::try_from(8 + payload.len()).expect("short");
        let mut packet = ipv4()[..20].to_vec();
        packet.extend([0x15, 0x7C, 0x15, 0x7C]);
        packet.extend(n_udp.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    /// The header of a capture, and a packet in it with this payload.
    pub(crate) fn sample(payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let bytes = capture(false, MAGIC_US, 7, 101, &packet(payload));
        (bytes[..FILE_HEADER_BYTES].to_vec(), bytes[FILE_HEADER_BYTES..].to_vec())
    }

    #[test]
    fn finds_datagrams_however_they_are_captured() {
        let ethernet = framed(&[[0; 12].as_slice(), &[8, 0]].concat(), &ipv4());
        let tagged = framed(&[[0; 12].as_slice(), &[0x81, 0, 0, 5, 8, 0]].concat(), &ipv4());
        let six = framed(&[[0; 12].as_slice(), &[0x86, 0xDD]].concat(), &ipv6());
        let cooked = framed(&[[0; 14].as_slice(), &[8, 0]].concat(), &ipv4());
        let cooked_2 = framed(&[[8, 0].as_slice(), &[0; 18]].concat(), &ipv4());
        for (name, link_type, frame) in [
            ("ethernet", 1, &ethernet),
            ("tagged", 1, &tagged),
            ("version 6", 1, &six),
            ("bare", 101, &ipv4()),
            ("loopback", 0, &framed(&[2, 0, 0, 0], &ipv4())),
            ("cooked", 113, &cooked),
            ("cooked 2", 276, &cooked_2),
        ] {
            for (magic, fraction) in [(MAGIC_US, 500_000), (MAGIC_NS, 500_000_000)] {
                for big_endian in [false, true] {
                    let bytes = capture(big_endian, magic, fraction, link_type, frame);
                    let pcap = begins(&bytes).expect("a capture");
                    let rest = &bytes[FILE_HEADER_BYTES..];
                    assert_eq!(pcap.split(rest, false), Split::Record(rest.len()), "{name}");
                    let packet = pcap.packet(rest);
                    assert_eq!(packet.captured_at_ns, Some(1_500_000_000), "{name}");
                    assert_eq!(packet.payload, Some(PAYLOAD), "{name}");
                    let sender = packet.sender.expect("it has one").to_string();
                    assert!(["10.0.0.7", "::1"].contains(&sender.as_str()), "{name}: {sender}");
                }
            }
        }
    }

    #[test]
    fn leaves_out_what_is_no_whole_datagram() {
        let mut fragment = ipv4();
        fragment[6] = 0x20;
        let mut stream = ipv4();
        stream[9] = 6;
        let arp = framed(&[[0; 12].as_slice(), &[8, 6]].concat(), &ipv4());
        for (link_type, frame) in [
            (101, fragment),
            (101, stream),
            (1, arp),
            (999, ipv4()),
            (101, vec![]),
            (1, vec![1; 13]),
        ] {
            let bytes = capture(false, MAGIC_US, 0, link_type, &frame);
            let pcap = begins(&bytes).expect("a capture");
            assert_eq!(pcap.packet(&bytes[FILE_HEADER_BYTES..]).payload, None);
        }
    }

    #[test]
    fn goes_on_behind_damage() {
        let bytes = capture(false, MAGIC_US, 0, 101, &ipv4());
        let pcap = begins(&bytes).expect("a capture");
        let damaged = [&[0xFF; 30], &bytes[FILE_HEADER_BYTES..]].concat();
        let Split::Bad(skipped, DecodeError::Length) = pcap.split(&damaged, true) else {
            panic!("the length is impossible")
        };
        assert!(skipped <= 30);
        assert_eq!(pcap.split(&bytes[FILE_HEADER_BYTES..30], false), Split::NeedsMore);
    }
}
