//! What a format of CSI is: where its records end, and what is in them.

use crate::framing::network::{self, NetworkCapture, Packet};
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Split, Step};

/// A format: pure functions of bytes, but for buffers that are used again.
pub(crate) trait Format: Send {
    /// Where the first record of some bytes ends. With `complete` no more bytes will follow.
    fn split(&self, bytes: &[u8], complete: bool) -> Split;

    /// Decodes a record, as [`Format::split`] has cut it.
    fn read(&mut self, record: &[u8], intake: &mut Intake) -> Result<(), DecodeError>;
}

/// A decoder of a format, whether bare or in captures of a network.
pub(crate) struct Framed<F> {
    format: F,
    /// Set while packets of a capture come.
    network: Option<NetworkCapture>,
}

impl<F> Framed<F> {
    pub(crate) fn new(format: F) -> Self {
        Self { format, network: None }
    }
}

impl<F: Format> Framed<F> {
    fn decode_bare(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step {
        match self.format.split(bytes, complete) {
            Split::Record(used) => match self.format.read(&bytes[..used], intake) {
                Ok(()) => Step::Used(used),
                Err(error) => Step::Bad(used, error),
            },
            Split::Other(used) => Step::Used(used),
            Split::Bad(used, error) => Step::Bad(used, error),
            Split::NeedsMore => Step::NeedsMore,
        }
    }

    /// Decodes the records of a datagram; an error is that of the last one that has one.
    fn decode_datagram(&mut self, packet: &Packet<'_>, intake: &mut Intake) -> Option<DecodeError> {
        if let Some(captured_at_ns) = packet.captured_at_ns {
            intake.set_arrival(captured_at_ns);
        }
        intake.set_sender(packet.sender);
        let (mut rest, mut error) = (packet.payload?, None);
        while !rest.is_empty() {
            match self.decode_bare(rest, true, intake) {
                Step::Used(used) => rest = &rest[used..],
                Step::Bad(used, bad) => (rest, error) = (&rest[used..], Some(bad)),
                Step::NeedsMore | Step::NeedsSchema(_) => break,
            }
        }
        error
    }
}

impl<F: Format> Decoder for Framed<F> {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        self.format.split(bytes, complete)
    }

    fn decode(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step {
        if let Some((network, used)) = network::begins(bytes) {
            self.network = Some(network);
            if used > 0 {
                return Step::Used(used);
            }
        }
        if network::may_begin(bytes) && !complete {
            return Step::NeedsMore;
        }
        let Some(network) = &mut self.network else {
            return self.decode_bare(bytes, complete, intake);
        };
        match network.split(bytes, complete) {
            Split::Record(used) => {
                let packet = network.packet(&bytes[..used]);
                match packet.and_then(|packet| self.decode_datagram(&packet, intake)) {
                    None => Step::Used(used),
                    Some(error) => Step::Bad(used, error),
                }
            }
            Split::Other(used) => Step::Used(used),
            Split::Bad(used, error) => Step::Bad(used, error),
            Split::NeedsMore => Step::NeedsMore,
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory { network: self.network }
    }

    fn recall(&mut self, memory: DecoderMemory) {
        self.network = memory.network;
    }
}
