//! The interface of a CSI format: the ends of its records, and their content.

use crate::framing::network::{self, NetworkCapture, Packet};
use crate::{
    Content, DecodeError, Decoded, Decoder, DecoderMemory, DeviceFrame, PacketHeader, Split,
};

/// A format: pure functions of bytes, except for reused buffers.
pub(crate) trait Format: Send {
    /// Finds the end of the first record of `bytes`. If `complete`, no more bytes follow.
    fn split(&self, bytes: &[u8], complete: bool) -> Split;

    /// Decodes a record that [`Format::split`] has found. None if it contains no frame.
    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError>;
}

/// A decoder of a format, bare or in network captures.
pub(crate) struct Framed<F> {
    format: F,
    /// Set within a network capture.
    network: Option<NetworkCapture>,
    /// Set from the header of a packet to its last record.
    in_packet: Option<InPacket>,
}

/// The progress of decoding a packet.
#[derive(Default)]
struct InPacket {
    /// Decoded bytes of its payload.
    n_decoded: usize,
    /// The error of its latest bad record.
    error: Option<DecodeError>,
}

impl<F> Framed<F> {
    pub(crate) fn new(format: F) -> Self {
        Self { format, network: None, in_packet: None }
    }
}

impl<F: Format> Framed<F> {
    fn decode_bare<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a> {
        match self.format.split(bytes, complete) {
            Split::Record(used) => match self.format.read(&bytes[..used]) {
                Ok(frame) => Decoded::Record(used, frame.map_or(Content::Nothing, Content::Frame)),
                Err(error) => Decoded::Bad(used, error),
            },
            Split::Other(used) => Decoded::Record(used, Content::Nothing),
            Split::Bad(used, error) => Decoded::Bad(used, error),
            Split::NeedsMore => Decoded::NeedsMore,
        }
    }

    /// Decodes the header of a packet, or its next record. The last record consumes the packet's `used`
    /// bytes.
    fn decode_packet<'a>(&'a mut self, packet: &Packet<'a>, used: usize) -> Decoded<'a> {
        let Some(in_packet) = &mut self.in_packet else {
            self.in_packet = Some(InPacket::default());
            let Packet { captured_at_ns, sender, .. } = *packet;
            return Decoded::Packet(PacketHeader { captured_at_ns, sender });
        };
        let payload = packet.payload.unwrap_or_default();
        let rest = &payload[in_packet.n_decoded..];
        if rest.is_empty() {
            let error = in_packet.error;
            self.in_packet = None;
            let nothing = Decoded::Record(used, Content::Nothing);
            return error.map_or(nothing, |error| Decoded::Bad(used, error));
        }
        match self.format.split(rest, true) {
            Split::Record(n_bytes) => {
                in_packet.n_decoded += n_bytes;
                match self.format.read(&rest[..n_bytes]) {
                    Ok(Some(frame)) => return Decoded::Record(0, Content::Frame(frame)),
                    Ok(None) => {}
                    Err(error) => in_packet.error = Some(error),
                }
            }
            Split::Other(n_bytes) => in_packet.n_decoded += n_bytes,
            Split::Bad(n_bytes, error) => {
                in_packet.n_decoded += n_bytes;
                in_packet.error = Some(error);
            }
            Split::NeedsMore => in_packet.n_decoded = payload.len(),
        }
        Decoded::Record(0, Content::Nothing)
    }
}

impl<F: Format> Decoder for Framed<F> {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        self.format.split(bytes, complete)
    }

    fn decode<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a> {
        if self.in_packet.is_none() {
            if let Some((network, used)) = network::begins(bytes) {
                self.network = Some(network);
                if used > 0 {
                    return Decoded::Record(used, Content::Nothing);
                }
            }
            if network::may_begin(bytes) && !complete {
                return Decoded::NeedsMore;
            }
        }
        let Some(network) = &mut self.network else { return self.decode_bare(bytes, complete) };
        match network.split(bytes, complete) {
            Split::Record(used) => match network.packet(&bytes[..used]) {
                Some(packet) => self.decode_packet(&packet, used),
                None => Decoded::Record(used, Content::Nothing),
            },
            Split::Other(used) => Decoded::Record(used, Content::Nothing),
            Split::Bad(used, error) => Decoded::Bad(used, error),
            Split::NeedsMore => Decoded::NeedsMore,
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory { network: self.network }
    }

    fn recall(&mut self, memory: DecoderMemory) {
        self.network = memory.network;
        self.in_packet = None;
    }
}
