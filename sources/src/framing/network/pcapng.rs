//! The newer file format, pcapng: blocks, some of which describe others.
//!
//! Source: IETF draft-ietf-opsawg-pcapng.

use serde::{Deserialize, Serialize};

use crate::framing::network::byte_order::ByteOrder;
use crate::framing::network::packet::Packet;
use crate::{DecodeError, Split};

/// Type and length; the length repeats after the body.
const BLOCK_HEADER_BYTES: usize = 8;
const SMALLEST_BLOCK_BYTES: usize = 12;
/// No packet is longer; a larger length is damage.
const LARGEST_BLOCK_BYTES: usize = 512 * 1024;
const SECTION: u32 = 0x0A0D_0D0A;
/// The first bytes of captures, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = SECTION.to_be_bytes();
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;
/// The option with the time unit of an interface.
const RESOLUTION: u16 = 9;
const MICROSECONDS: u8 = 6;
/// The most interfaces of a section; packets of further ones are ignored.
const MOST_INTERFACES: usize = 8;

/// The byte order of a section, and its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pcapng {
    order: ByteOrder,
    n_interfaces: usize,
    interfaces: [Interface; MOST_INTERFACES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Interface {
    link_type: u16,
    /// Exponent of the time units in a second: of ten, or of two if the highest bit is set.
    resolution: u8,
}

/// Returns the format of a section that starts with `bytes`, if one does.
pub(super) fn begins(bytes: &[u8]) -> Option<Pcapng> {
    let magic = *bytes.get(8..)?.first_chunk()?;
    let (order, _) = ByteOrder::of(magic, &[BYTE_ORDER])?;
    let interfaces = [Interface::default(); MOST_INTERFACES];
    let pcapng = Pcapng { order, n_interfaces: 0, interfaces };
    (order.long(bytes, 0) == SECTION).then_some(pcapng)
}

impl Pcapng {
    /// Finds the end of the first block.
    pub(super) fn split(&self, bytes: &[u8], complete: bool) -> Split {
        if bytes.len() < BLOCK_HEADER_BYTES {
            return Split::missing(bytes, complete);
        }
        let n_bytes = self.order.long(bytes, 4) as usize;
        match bytes.get(..n_bytes) {
            Some(block) if self.is_block(block) => Split::Record(n_bytes),
            None if may_be(n_bytes) && !complete => Split::NeedsMore,
            _ => {
                let (margin, error) = (SMALLEST_BLOCK_BYTES, DecodeError::Length);
                Split::resume(bytes, complete, margin, error, |bytes| self.has_block(bytes))
            }
        }
    }

    fn has_block(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.order.long(bytes, 4) as usize).is_some_and(|block| self.is_block(block))
    }

    /// True if a block has the same length at both ends.
    fn is_block(&self, block: &[u8]) -> bool {
        may_be(block.len()) && self.order.long(block, block.len() - 4) as usize == block.len()
    }

    /// Reads a block that [`Pcapng::split`] has found. None if it is not a packet.
    pub(super) fn packet<'a>(&mut self, block: &'a [u8]) -> Option<Packet<'a>> {
        let body = block.get(BLOCK_HEADER_BYTES..block.len().checked_sub(4)?)?;
        match self.order.long(block, 0) {
            INTERFACE => {
                self.add_interface(body);
                None
            }
            PACKET => self.timed(self.order.long(body, 0) as usize, body),
            OLD_PACKET => self.timed(self.order.short(body, 0).into(), body),
            SIMPLE_PACKET => {
                let n_bytes = (self.order.long(body, 0) as usize).min(body.len().saturating_sub(4));
                let link_type = self.interface(0)?.link_type;
                Some(Packet::new(None, link_type.into(), body.get(4..4 + n_bytes)?))
            }
            _ => None,
        }
    }

    fn add_interface(&mut self, body: &[u8]) {
        let (link_type, resolution) = (self.order.short(body, 0), self.resolution(body));
        if let Some(place) = self.interfaces.get_mut(self.n_interfaces) {
            *place = Interface { link_type, resolution };
            self.n_interfaces += 1;
        }
    }

    /// Returns the time resolution of an interface, by its options; microseconds by default.
    fn resolution(&self, body: &[u8]) -> u8 {
        let mut options = body.get(8..).unwrap_or_default();
        while options.len() > 4 {
            let n_bytes = usize::from(self.order.short(options, 2));
            if self.order.short(options, 0) == RESOLUTION && n_bytes == 1 {
                return options[4];
            }
            options = options.get(4 + n_bytes.next_multiple_of(4)..).unwrap_or_default();
        }
        MICROSECONDS
    }

    fn interface(&self, number: usize) -> Option<Interface> {
        self.interfaces[..self.n_interfaces].get(number).copied()
    }

    /// Reads a packet with an interface and a time.
    fn timed<'a>(&self, interface: usize, body: &'a [u8]) -> Option<Packet<'a>> {
        let interface = self.interface(interface)?;
        let time = u64::from(self.order.long(body, 4)) << 32 | u64::from(self.order.long(body, 8));
        let frame = body.get(20..)?.get(..self.order.long(body, 12) as usize)?;
        Some(Packet::new(interface.as_ns(time), interface.link_type.into(), frame))
    }
}

/// True for lengths that blocks can have.
fn may_be(n_bytes: usize) -> bool {
    (SMALLEST_BLOCK_BYTES..=LARGEST_BLOCK_BYTES).contains(&n_bytes) && n_bytes.is_multiple_of(4)
}

impl Interface {
    /// Converts a time to nanoseconds since the Unix epoch; None if it is out of range.
    fn as_ns(self, time: u64) -> Option<i64> {
        let exponent = u32::from(self.resolution & 0x7F);
        let base: u128 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        let per_s = base.checked_pow(exponent)?;
        i64::try_from(u128::from(time) * 1_000_000_000 / per_s).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::framing::network::pcap;

    /// Writes numbers in a byte order.
    #[derive(Clone, Copy)]
    struct Order {
        big_endian: bool,
    }

    impl Order {
        fn long(self, number: u32) -> [u8; 4] {
            if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
        }

        fn short(self, number: u16) -> [u8; 2] {
            if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
        }

        fn block(self, block_type: u32, body: &[u8]) -> Vec<u8> {
            let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
            let n_bytes = body.len() + padding.len() + SMALLEST_BLOCK_BYTES;
            let n_bytes = self.long(u32::try_from(n_bytes).expect("short"));
            [&self.long(block_type)[..], &n_bytes, body, &padding, &n_bytes].concat()
        }

        /// A section with an interface of bare IP, which counts nanoseconds.
        fn header(self) -> Vec<u8> {
            let version = [self.short(1), self.short(0)].concat();
            let section = [&self.long(BYTE_ORDER)[..], &version, &[0xFF; 8]].concat();
            let name = [&self.short(2)[..], &self.short(3), b"lo\0\0"].concat();
            let units = [&self.short(RESOLUTION)[..], &self.short(1), &[9, 0, 0, 0]].concat();
            let link = [self.short(101), self.short(0)].concat();
            let interface = [link, self.long(65_535).to_vec(), name, units].concat();
            [self.block(SECTION, &section), self.block(INTERFACE, &interface)].concat()
        }

        /// A packet at 1.5 s.
        fn packet(self, packet: &[u8]) -> Vec<u8> {
            let n_bytes = u32::try_from(packet.len()).expect("short");
            let head = [0, 0, 1_500_000_000, n_bytes, n_bytes].map(|number| self.long(number));
            self.block(PACKET, &[head.as_flattened(), packet].concat())
        }
    }

    /// The header of a capture, and a packet in it with this payload.
    pub(crate) fn sample(payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let order = Order { big_endian: false };
        (order.header(), order.packet(&pcap::tests::packet(payload)))
    }

    /// The packets of some blocks.
    fn packets(mut bytes: &[u8]) -> Vec<Packet<'_>> {
        let mut pcapng = begins(bytes).expect("a section");
        let mut packets = Vec::new();
        while let Split::Record(n_bytes) = pcapng.split(bytes, false) {
            packets.extend(pcapng.packet(&bytes[..n_bytes]));
            bytes = &bytes[n_bytes..];
        }
        packets
    }

    #[test]
    fn finds_datagrams_in_either_byte_order() {
        for order in [false, true].map(|big_endian| Order { big_endian }) {
            let unknown = order.block(0x0BAD, b"whatever");
            let simple = pcap::tests::packet(b"world");
            let n_bytes = order.long(u32::try_from(simple.len()).expect("short"));
            let simple = order.block(SIMPLE_PACKET, &[&n_bytes[..], &simple].concat());
            let timed = order.packet(&pcap::tests::packet(b"hello"));
            let bytes = [order.header(), unknown, timed, simple].concat();
            let found: Vec<_> =
                packets(&bytes).iter().map(|it| (it.captured_at_ns, it.payload)).collect();
            let expected =
                [(Some(1_500_000_000), Some(&b"hello"[..])), (None, Some(&b"world"[..]))];
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn times_have_the_units_of_their_interface() {
        for (resolution, time, expected) in [
            (6, 1_500_000, Some(1_500_000_000)),
            (9, 7, Some(7)),
            (0, 3, Some(3_000_000_000)),
            (0x8A, 512, Some(500_000_000)),
            (0x7F, 1, None),
            (0, u64::MAX, None),
        ] {
            let interface = Interface { link_type: 1, resolution };
            assert_eq!(interface.as_ns(time), expected, "{resolution}");
        }
    }
}
