//! Decodes bytes, and collects their records.

use schemas::Record;

use crate::partitions::collector::Collector;
use crate::{Content, Decoded, Decoder, Step};

impl Collector {
    /// Collects the first record of `bytes`, or all records of the packet at their start. `bytes` must not
    /// be empty. With `complete`, no more bytes follow.
    pub fn decode(&mut self, decoder: &mut dyn Decoder, bytes: &[u8], complete: bool) -> Step {
        loop {
            match decoder.decode(bytes, complete) {
                Decoded::Packet(packet) => {
                    if let Some(captured_at_ns) = packet.captured_at_ns {
                        self.set_arrival(captured_at_ns);
                    }
                    self.set_sender(packet.sender);
                }
                Decoded::Record(used, content) => {
                    self.collect(content);
                    if used > 0 {
                        return Step::Used(used);
                    }
                }
                Decoded::Bad(used, error) => return Step::Bad(used, error),
                Decoded::NeedsMore => return Step::NeedsMore,
                Decoded::NeedsSchema(number) => return Step::NeedsSchema(number),
            }
        }
    }

    fn collect(&mut self, content: Content<'_>) {
        match content {
            Content::Nothing => {}
            Content::Frame(frame) => self.push(&frame),
            Content::Row(happened_at_ns, row) => self.push_row(happened_at_ns, row),
            Content::Poses(frames) => {
                for frame in frames {
                    self.push_record(frame.captured_at_ns, Record::Pose(frame));
                }
            }
        }
    }
}
