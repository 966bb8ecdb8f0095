//! Captures of a network: the datagrams in a file, with the time and the device they came from.

mod byte_order;
mod packet;
pub(crate) mod pcap;
pub(crate) mod pcapng;

use serde::{Deserialize, Serialize};

use crate::Split;
use crate::framing::network::pcap::Pcap;
use crate::framing::network::pcapng::Pcapng;

pub(crate) use crate::framing::network::packet::{Packet, datagram};

/// So many bytes tell whether a capture begins.
pub(crate) const MAGIC_BYTES: usize = pcap::FILE_HEADER_BYTES;

/// The format of a network capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NetworkCapture {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// The format of a capture that begins here, if one does, and the bytes of its signature.
pub(crate) fn begins(bytes: &[u8]) -> Option<(NetworkCapture, usize)> {
    let pcap = pcap::begins(bytes).map(|it| (NetworkCapture::Pcap(it), pcap::FILE_HEADER_BYTES));
    // The block that says it is one like the others.
    pcap.or_else(|| Some((NetworkCapture::Pcapng(pcapng::begins(bytes)?), 0)))
}

/// True if some bytes are too few to tell whether a capture begins, as far as they go.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    let begin = |magic: [u8; 4]| bytes.iter().zip(magic).all(|(byte, of_magic)| *byte == of_magic);
    bytes.len() < MAGIC_BYTES && pcap::magics().chain([pcapng::MAGIC]).any(begin)
}

impl NetworkCapture {
    /// The end of the first packet, or another result.
    pub(crate) fn split(&self, bytes: &[u8], complete: bool) -> Split {
        match self {
            Self::Pcap(pcap) => pcap.split(bytes, complete),
            Self::Pcapng(pcapng) => pcapng.split(bytes, complete),
        }
    }

    /// Reads what [`NetworkCapture::split`] has cut: a packet, if it is one.
    pub(crate) fn packet<'a>(&mut self, record: &'a [u8]) -> Option<Packet<'a>> {
        match self {
            Self::Pcap(pcap) => Some(pcap.packet(record)),
            Self::Pcapng(pcapng) => pcapng.packet(record),
        }
    }
}
