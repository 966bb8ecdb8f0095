//! Pose frames as lines of JSON.

use schemas::PoseFrame;

use crate::formats::json::line;
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Split, Step};

/// Reads frames; remembers nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonPoses;

impl Decoder for JsonPoses {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        Split::line(bytes, complete)
    }

    fn decode(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step {
        let Some((line, used)) = line(bytes, complete) else { return Step::NeedsMore };
        if line.trim_ascii().is_empty() {
            return Step::Used(used);
        }
        match serde_json::from_slice::<PoseFrame>(line) {
            Ok(frame) => {
                intake.push_record(frame.captured_at_ns, schemas::Record::Pose(frame));
                Step::Used(used)
            }
            Err(_) => Step::Bad(used, DecodeError::NoPose),
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory::default()
    }

    fn recall(&mut self, _: DecoderMemory) {}
}
