//! What a format of CSI is: where its records end, and what is in them.

use crate::csi::pcap::{self, Packet, Pcap};
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Split, Step};

/// A format: pure functions of bytes, but for buffers that are used again.
pub(crate) trait Format: Send {
    /// Where the first record of some bytes ends. With `complete` no more bytes will follow.
    fn split(&self, bytes: &[u8], complete: bool) -> Split;

    /// Decodes a record, as [`Format::split`] has cut it.
    fn read(&mut self, record: &[u8], intake: &mut Intake) -> Result<(), DecodeError>;
}

/// A decoder of a format, whether bare or in captures of a network (pcap).
pub(crate) struct Framed<F> {
    format: F,
    /// Set while packets of a capture come.
    pcap: Option<Pcap>,
}

impl<F> Framed<F> {
    pub(crate) fn new(format: F) -> Self {
        Self { format, pcap: None }
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
        intake.set_arrival(packet.captured_at_ns);
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
        if let Some(pcap) = pcap::begins(bytes) {
            self.pcap = Some(pcap);
            return Step::Used(pcap::FILE_HEADER_BYTES);
        }
        if bytes.len() < pcap::FILE_HEADER_BYTES && !complete {
            return Step::NeedsMore;
        }
        let Some(pcap) = self.pcap else { return self.decode_bare(bytes, complete, intake) };
        match pcap.split(bytes, complete) {
            Split::Record(used) => match self.decode_datagram(&pcap.packet(&bytes[..used]), intake)
            {
                None => Step::Used(used),
                Some(error) => Step::Bad(used, error),
            },
            Split::Other(used) => Step::Used(used),
            Split::Bad(used, error) => Step::Bad(used, error),
            Split::NeedsMore => Step::NeedsMore,
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory { pcap: self.pcap }
    }

    fn recall(&mut self, memory: DecoderMemory) {
        self.pcap = memory.pcap;
    }
}
