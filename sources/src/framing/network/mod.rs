//! Network captures: the datagrams in a file, with their times and senders.

mod byte_order;
mod packet;
pub(crate) mod pcap;
pub(crate) mod pcapng;

use serde::{Deserialize, Serialize};

use crate::Split;
use crate::framing::network::pcap::Pcap;
use crate::framing::network::pcapng::Pcapng;

pub(crate) use crate::framing::network::packet::{Packet, datagram};

/// The number of bytes that suffice to recognise a capture.
pub(crate) const MAGIC_BYTES: usize = pcap::FILE_HEADER_BYTES;

/// The format of a network capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NetworkCapture {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// Returns the format of a capture that starts with `bytes`, and the bytes of its file header. None if no
/// capture starts here.
pub(crate) fn begins(bytes: &[u8]) -> Option<(NetworkCapture, usize)> {
    let pcap = pcap::begins(bytes).map(|it| (NetworkCapture::Pcap(it), pcap::FILE_HEADER_BYTES));
    // The first block, which identifies pcapng, is a block like the others.
    pcap.or_else(|| Some((NetworkCapture::Pcapng(pcapng::begins(bytes)?), 0)))
}

/// True if `bytes` may start a capture but are too short to decide.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    let begin = |magic: [u8; 4]| bytes.iter().zip(magic).all(|(byte, of_magic)| *byte == of_magic);
    bytes.len() < MAGIC_BYTES && pcap::magics().chain([pcapng::MAGIC]).any(begin)
}

impl NetworkCapture {
    /// Finds the end of the first packet.
    pub(crate) fn split(&self, bytes: &[u8], complete: bool) -> Split {
        match self {
            Self::Pcap(pcap) => pcap.split(bytes, complete),
            Self::Pcapng(pcapng) => pcapng.split(bytes, complete),
        }
    }

    /// Reads a record that [`NetworkCapture::split`] has found. None if it is not a packet.
    pub(crate) fn packet<'a>(&mut self, record: &'a [u8]) -> Option<Packet<'a>> {
        match self {
            Self::Pcap(pcap) => Some(pcap.packet(record)),
            Self::Pcapng(pcapng) => pcapng.packet(record),
        }
    }
}
