//! Pictures of a camera, a video or a folder.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SourceKind;

/// One picture, with pixels that all consumers share.
///
/// - `pixels` has `height * width * 3` bytes
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoFrame {
    /// The observed place.
    pub site: String,
    /// The component that read the picture.
    pub source: String,
    /// Capture time in nanoseconds since the Unix epoch. The times of a file count from the start that its source
    /// is given.
    pub captured_at_ns: i64,
    /// Number of the picture within its source, from 0.
    pub frame_id: u64,
    /// The name of the picture's file without its extension; empty in a video.
    pub name: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixels of the original per pixel: 1 unless the picture was made smaller.
    pub scale: f32,
    /// The kind of source.
    pub source_kind: SourceKind,
    /// Red, green and blue of each pixel, row by row from the top.
    ///
    /// # Shapes
    ///
    /// - `[height, width, 3]`
    #[serde(serialize_with = "pixels_in_compact_formats")]
    #[serde(deserialize_with = "pixels_of_compact_formats")]
    pub pixels: Arc<Vec<u8>>,
}

impl VideoFrame {
    /// Returns the bytes of the pixels and of all text.
    pub fn size_bytes(&self) -> usize {
        self.site.len() + self.source.len() + self.name.len() + self.pixels.len()
    }
}

impl fmt::Debug for VideoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoFrame")
            .field("source", &self.source)
            .field("captured_at_ns", &self.captured_at_ns)
            .field("frame_id", &self.frame_id)
            .field("size", &[self.width, self.height])
            .finish_non_exhaustive()
    }
}

/// Only compact formats have pixels: JSON of pixels is of no use to anybody.
fn pixels_in_compact_formats<S: Serializer>(
    pixels: &Arc<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_unit()
    } else {
        pixels.serialize(serializer)
    }
}

fn pixels_of_compact_formats<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<Vec<u8>>, D::Error> {
    if deserializer.is_human_readable() {
        return <()>::deserialize(deserializer).map(|()| Arc::default());
    }
    Arc::deserialize(deserializer)
}
