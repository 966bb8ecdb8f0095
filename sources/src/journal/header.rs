//! The header of a journal entry.

use std::net::{IpAddr, Ipv6Addr};

use crate::journal::LONGEST_MESSAGE;

/// Bytes of an entry's header: length, checksum, number, time, sender and mark.
pub(super) const HEADER_BYTES: usize = 48;

/// The origin of a message, if it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The sender's address, if known.
    pub(crate) sender: Option<IpAddr>,
    /// The transport's mark of the message: its identity at a broker, or its end in a file.
    pub(crate) mark: u64,
}

/// The header of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) n_bytes: usize,
    checksum: u32,
    pub(super) number: u64,
    pub(super) arrived_at_ns: i64,
    /// Unspecified if the sender is unknown; IPv4 addresses are mapped to IPv6.
    sender: Ipv6Addr,
    mark: u64,
}

impl Header {
    pub(super) fn of(number: u64, arrived_at_ns: i64, origin: Origin, message: &[u8]) -> Self {
        let sender = match origin.sender {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        let (n_bytes, mark) = (message.len(), origin.mark);
        let mut header = Self { n_bytes, checksum: 0, number, arrived_at_ns, sender, mark };
        header.checksum = header.sum(message);
        header
    }

    fn sum(&self, message: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode()[8..]);
        hasher.update(message);
        hasher.finalize()
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&(self.n_bytes as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.arrived_at_ns.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.sender.octets());
        bytes[40..].copy_from_slice(&self.mark.to_le_bytes());
        bytes
    }

    /// Returns the entry at the beginning of `bytes`, if it is complete and intact.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (n_bytes, rest) = bytes.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (arrived_at_ns, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk::<16>()?;
        let (mark, rest) = rest.split_first_chunk()?;
        let header = Self {
            n_bytes: u32::from_le_bytes(*n_bytes) as usize,
            checksum: u32::from_le_bytes(*checksum),
            number: u64::from_le_bytes(*number),
            arrived_at_ns: i64::from_le_bytes(*arrived_at_ns),
            sender: Ipv6Addr::from(*sender),
            mark: u64::from_le_bytes(*mark),
        };
        let message = rest.get(..header.n_bytes).filter(|it| it.len() <= LONGEST_MESSAGE)?;
        (header.checksum == header.sum(message)).then_some((header, message))
    }

    pub(super) fn origin(&self) -> Origin {
        let sender = IpAddr::from(self.sender).to_canonical();
        Origin { sender: (!sender.is_unspecified()).then_some(sender), mark: self.mark }
    }
}
