//! Pose frames as lines of JSON.

use schemas::PoseFrame;

use crate::formats::json::line;
use crate::{Content, DecodeError, Decoded, Decoder, DecoderMemory, Split};

/// Reads frames; it has no state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonPoses;

impl Decoder for JsonPoses {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        Split::line(bytes, complete)
    }

    fn decode<'a>(&'a mut self, bytes: &'a [u8], complete: bool) -> Decoded<'a> {
        let Some((line, used)) = line(bytes, complete) else { return Decoded::NeedsMore };
        if line.trim_ascii().is_empty() {
            return Decoded::Record(used, Content::Nothing);
        }
        match serde_json::from_slice::<PoseFrame>(line) {
            Ok(frame) => Decoded::Record(used, Content::Poses(vec![frame])),
            Err(_) => Decoded::Bad(used, DecodeError::NoPose),
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory::default()
    }

    fn recall(&mut self, _: DecoderMemory) {}
}
