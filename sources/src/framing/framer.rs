//! Splits streams of bytes into records before the journal stores them. In a network capture, the records are
//! its datagrams.

use std::net::IpAddr;

use crate::framing::network::{self, NetworkCapture};
use crate::{Decoder, Split};

/// The longest record; longer ones are cut, because no device sends them.
const LONGEST_RECORD: usize = 512 * 1024;

/// Splits one stream.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// The beginning of an incomplete record.
    begun: Vec<u8>,
    /// Set within a network capture.
    network: Option<NetworkCapture>,
}

/// A record, or the bytes between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramedRecord<'a> {
    pub(crate) bytes: &'a [u8],
    /// The sender's address, if the capture contains it.
    pub(crate) sender: Option<IpAddr>,
    /// The distance of its end from the end of the received bytes.
    pub(crate) behind: u64,
}

impl Framer {
    /// Adds the next bytes of the stream, and passes each complete record to `tell`.
    pub(crate) fn take(
        &mut self,
        decoder: &dyn Decoder,
        bytes: &[u8],
        tell: impl FnMut(FramedRecord<'_>),
    ) {
        self.begun.extend_from_slice(bytes);
        self.cut(decoder, false, tell);
    }

    /// Passes the incomplete record to `tell`, at the end of the stream.
    pub(crate) fn end(&mut self, decoder: &dyn Decoder, tell: impl FnMut(FramedRecord<'_>)) {
        self.cut(decoder, true, tell);
    }

    fn cut(&mut self, decoder: &dyn Decoder, ended: bool, mut tell: impl FnMut(FramedRecord<'_>)) {
        let Self { begun, network } = self;
        let mut at = 0;
        while at < begun.len() {
            let rest = &begun[at..begun.len().min(at + LONGEST_RECORD)];
            let complete = ended || rest.len() == LONGEST_RECORD;
            let Some((n_bytes, message)) = first(rest, complete, decoder, network) else { break };
            at += n_bytes;
            if let Some((bytes, sender)) = message {
                tell(FramedRecord { bytes, sender, behind: (begun.len() - at) as u64 });
            }
        }
        begun.drain(..at);
    }
}

/// The message, and its sender.
type Message<'a> = (&'a [u8], Option<IpAddr>);

/// Returns the length of the first record or packet, or of the bytes before it, and its message. None if it
/// is incomplete.
fn first<'a>(
    bytes: &'a [u8],
    complete: bool,
    decoder: &dyn Decoder,
    network: &mut Option<NetworkCapture>,
) -> Option<(usize, Option<Message<'a>>)> {
    if network::may_begin(bytes) && !complete {
        return None;
    }
    if let Some((begins, n_bytes)) = network::begins(bytes) {
        *network = Some(begins);
        if n_bytes > 0 {
            return Some((n_bytes, None));
        }
    }
    let split = match network {
        Some(network) => network.split(bytes, complete),
        None => decoder.split(bytes, complete),
    };
    let n_bytes = match split {
        Split::Record(n_bytes) | Split::Other(n_bytes) | Split::Bad(n_bytes, _) => n_bytes,
        Split::NeedsMore if complete => bytes.len(),
        Split::NeedsMore => return None,
    };
    let message = match (network, split) {
        // A packet may contain no datagram.
        (Some(network), Split::Record(_)) => {
            let packet = network.packet(&bytes[..n_bytes]);
            packet.and_then(|packet| Some((packet.payload?, packet.sender)))
        }
        _ => Some((&bytes[..n_bytes], None)),
    };
    Some((n_bytes, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CsiFormat;
    use crate::framing::network::{pcap, pcapng};

    fn cut(pieces: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let decoder = CsiFormat::Esp32.decoder();
        let (mut framer, mut records) = (Framer::default(), Vec::new());
        let mut keep = |piece: FramedRecord<'_>| records.push((piece.bytes.to_vec(), piece.behind));
        for piece in pieces {
            framer.take(&*decoder, piece, &mut keep);
        }
        framer.end(&*decoder, &mut keep);
        records
    }

    #[test]
    fn records_are_whole_however_they_come() {
        let (first, second, last) = (&b"CSI_DATA,1\n"[..], &b"boot\n"[..], &b"CSI_DA"[..]);
        let all = [first, second, last].concat();
        let expected = [first, second, last].map(<[u8]>::to_vec);
        for cut_at in 0..all.len() {
            let records = cut(&[&all[..cut_at], &all[cut_at..]]);
            let records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
            assert_eq!(records, expected, "cut at {cut_at}");
        }
        let behind: Vec<_> = cut(&[&all]).into_iter().map(|(_, behind)| behind).collect();
        assert_eq!(behind, [11, 6, 0]);
    }

    #[test]
    fn captures_of_a_network_are_unpacked() {
        let lines = [&b"CSI_DATA,1\n"[..], &b"CSI_DATA,2\n"[..]];
        let sender = IpAddr::from([10, 0, 0, 7]);
        let expected: Vec<_> = lines.map(|line| (line.to_vec(), Some(sender))).into();
        for sample in [pcap::tests::sample, pcapng::tests::sample] {
            let (header, packets) = (sample(b"").0, lines.map(|line| sample(line).1).concat());
            let capture = [header, packets].concat();
            for cut_at in 0..=capture.len() {
                let decoder = CsiFormat::Esp32.decoder();
                let (mut framer, mut found, mut behind) = (Framer::default(), Vec::new(), 0);
                for piece in [&capture[..cut_at], &capture[cut_at..]] {
                    framer.take(&*decoder, piece, |piece| {
                        found.push((piece.bytes.to_vec(), piece.sender));
                        behind = piece.behind;
                    });
                }
                assert_eq!((&found, behind), (&expected, 0), "cut at {cut_at}");
            }
        }
    }

    #[test]
    fn short_lines_are_not_waited_for() {
        let decoder = CsiFormat::Esp32.decoder();
        let (mut framer, mut n_pieces) = (Framer::default(), 0);
        framer.take(&*decoder, b"boot\n", |_| n_pieces += 1);
        assert_eq!(n_pieces, 1);
    }

    #[test]
    fn what_never_ends_is_cut() {
        let noise = vec![b'x'; 2 * LONGEST_RECORD + 5];
        let lengths: Vec<_> = cut(&[&noise]).into_iter().map(|(record, _)| record.len()).collect();
        assert_eq!(lengths.iter().sum::<usize>(), noise.len());
        assert!(lengths.iter().all(|n_bytes| *n_bytes <= LONGEST_RECORD), "{lengths:?}");
    }
}
