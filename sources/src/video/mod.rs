//! The `video` source: pictures of a file, a folder, a camera or a stream.
//!
//! A spawned `ffmpeg` decodes video straight to the size that the pipeline needs, so a fault in a decoder cannot
//! harm this process, and any version of ffmpeg will do. With the feature `ffmpeg-next`, its libraries can do the
//! same in this process. Pictures in a folder are decoded here.

mod address;
mod arguments;
mod confinement;
mod decoder;
mod nut;
mod pictures;
mod probe;
mod video_source;

use std::path::Path;

use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::config::checks::problem_of_speed;
use crate::config::settings::{Outputs, SourceSettings};
use crate::partitions::pace::Paced;
use crate::video::address::Address;
use crate::video::decoder::VideoDecoder;
pub use crate::video::probe::{VideoDescription, describe_video};
use crate::video::video_source::VideoSource;
use crate::{Decoder, Partition, SourceContext, SourceError, Speed, Transport};

/// Returns the number of pictures in a folder.
///
/// # Errors
///
/// [`std::io::Error`] if the folder cannot be read.
pub fn count_pictures(folder: &Path) -> std::io::Result<u64> {
    Ok(pictures::list(folder)?.len() as u64)
}

/// Within the range of nanoseconds since the Unix epoch in 64 bits.
const MAX_START_S: i64 = 8_000_000_000;
/// The largest side of a decoded picture: 8K video.
const MAX_SIDE: u32 = 8192;

/// Settings of the `video` source.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoConfig {
    /// The video: the path of a file, a folder of pictures or a camera such as `/dev/video0`, or a URL that begins
    /// with `rtsp://`, `rtmp://`, `http://` or `https://`. Pictures of a folder are in the natural order of their
    /// names.
    pub url: String,
    /// The decoder of a video: "process" (default) starts `ffmpeg`, and "library" uses ffmpeg's libraries in this
    /// process. Use "library" for trusted videos only; it needs a program that was built with
    /// `--features ffmpeg-next`.
    #[serde(default)]
    pub decoder: VideoDecoder,
    /// Largest width of a picture in pixels, from 16 to 8192; 1280 by default. Larger pictures are made smaller.
    #[serde(default = "default_max_width")]
    pub max_width: u32,
    /// Largest height of a picture in pixels, from 16 to 8192; 720 by default.
    #[serde(default = "default_max_height")]
    pub max_height: u32,
    /// Least event time between two pictures; "0s" by default, which keeps all.
    #[serde(default)]
    pub every: TimeSpan,
    /// Event time of the start of a file or folder, in seconds since the Unix epoch; 0 by default. A live stream
    /// has the time of its arrival.
    #[serde(default)]
    pub starts_at_s: i64,
    /// Event time between two pictures of a folder; "1s" by default.
    #[serde(default = "default_picture_interval")]
    pub picture_interval: TimeSpan,
    /// True for a live stream at an `http://` or `https://` URL, such as a camera's MJPEG; by default, such a URL is
    /// that of a file. Cameras, RTSP, RTMP and HLS are always live.
    #[serde(default)]
    pub live: bool,
    /// Time without a picture after which a live stream is opened again; "10s" by default. It includes the opening,
    /// which takes seconds for some streams.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: TimeSpan,
    /// Speed of reading a file or folder: "full" (default), "recorded", or a factor.
    #[serde(default)]
    pub speed: Speed,
    /// Name of the observed place; the pipeline's name by default.
    pub site: Option<String>,
}

impl VideoConfig {
    fn site_or(&self, default: &str) -> String {
        self.site.clone().unwrap_or_else(|| default.to_owned())
    }

    fn address(&self) -> Address {
        Address::parse(&self.url)
    }

    /// True if pictures arrive as they are taken, and cannot be read again.
    fn is_live(&self) -> bool {
        self.live || self.address().is_live()
    }
}

impl SourceSettings for VideoConfig {
    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Video), ("errors", RecordKind::Rows), ("events", RecordKind::Event)]
    }

    fn problems(&self) -> Vec<String> {
        let side = |name: &str, value: u32| {
            let fits = (16..=MAX_SIDE).contains(&value);
            (!fits).then(|| format!("{name} must be from 16 to {MAX_SIDE}, not {value}"))
        };
        let fits = (0..=MAX_START_S).contains(&self.starts_at_s);
        let start = (!fits).then(|| {
            format!("starts_at_s must be from 0 to {MAX_START_S}, not {}", self.starts_at_s)
        });
        let interval = (self.picture_interval == TimeSpan::ZERO)
            .then(|| "picture_interval must be longer than 0s".to_owned());
        let idle = (self.idle_timeout < TimeSpan::from_ms(100))
            .then(|| "idle_timeout must be at least 100ms".to_owned());
        let is_file = matches!(self.address(), Address::File(_));
        let live = (self.live && is_file).then(|| "live is for URLs, not for files".to_owned());
        let sides = [side("max_width", self.max_width), side("max_height", self.max_height)];
        let problems = sides.into_iter().chain([
            start,
            interval,
            idle,
            live,
            self.decoder.problem(&self.address()),
            self.address().problem(),
        ]);
        problems.flatten().chain(problem_of_speed(self.speed)).collect()
    }

    fn state_shape(&self) -> String {
        format!("video 1, {}", self.address())
    }

    fn transport(&self) -> Option<&Transport> {
        None
    }

    fn decoder(&self) -> Option<Box<dyn Decoder>> {
        None
    }

    fn input_file(&self) -> Option<(&'static str, &Path)> {
        let is_file = matches!(self.address(), Address::File(_) | Address::Device(_));
        is_file.then(|| ("url", Path::new(&self.url)))
    }

    fn origin(&self) -> String {
        format!("video {}", self.address())
    }

    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        let source = VideoSource::open(self, context)?;
        Ok(vec![match self.speed {
            Speed::Factor(factor) if !source.is_live() => Paced::new(source, factor).into(),
            _ => source.into(),
        }])
    }
}

fn default_max_width() -> u32 {
    1280
}

fn default_max_height() -> u32 {
    720
}

fn default_picture_interval() -> TimeSpan {
    TimeSpan::from_s(1)
}

fn default_idle_timeout() -> TimeSpan {
    TimeSpan::from_s(10)
}
