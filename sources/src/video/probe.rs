//! What `ffprobe` says about a video, before it is decoded.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use serde_json::Value;

use crate::video::arguments::FORMATS;
use crate::video::confinement;

/// A file that takes longer is decoded without a description.
const LONGEST: Duration = Duration::from_secs(10);
/// A longer description is cut off, and then not JSON.
const MAX_BYTES: u64 = 1 << 20;

/// The description of a video file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoDescription {
    /// Estimated number of pictures, if it is known.
    pub n_frames: Option<u64>,
    /// The longer side of a picture, in pixels.
    pub longer_side: u32,
}

/// Describes a video file; none if it is not one, or if there is no `ffprobe`.
pub fn describe_video(path: &Path) -> Option<VideoDescription> {
    let fields = "stream=width,height,nb_frames,avg_frame_rate:format=duration";
    let limits = ["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", FORMATS];
    let wanted = ["-select_streams", "v:0", "-show_entries", fields, "-of", "json"];
    // With its protocol, a path cannot be an option or another protocol.
    let mut file = OsString::from("file:");
    file.push(path);
    let process = confinement::spawn("ffprobe", false, |command| {
        command.args(limits).args(wanted).arg("-i").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    });
    let described = output(process.ok()?)?;
    let described: Value = serde_json::from_slice(&described).ok()?;
    let stream = &described["streams"][0];
    let side = |name: &str| u32::try_from(stream[name].as_u64()?).ok();
    let longer_side = side("width")?.max(side("height")?);
    Some(VideoDescription { n_frames: n_frames(stream, &described["format"]), longer_side })
}

fn n_frames(stream: &Value, format: &Value) -> Option<u64> {
    let number = |value: &Value| value.as_str()?.parse::<f64>().ok();
    if let Some(n_frames) = number(&stream["nb_frames"]) {
        return Some(n_frames as u64);
    }
    let (above, below) = stream["avg_frame_rate"].as_str()?.split_once('/')?;
    let rate = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    let n_frames = rate * number(&format["duration"])?;
    n_frames.is_finite().then_some(n_frames as u64)
}

/// Returns the output of a process that ends in time.
fn output(mut child: Child) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?.take(MAX_BYTES);
    let (to, described) = bounded(1);
    let reader = thread::spawn(move || to.send(read_all(stdout)));
    let described = described.recv_timeout(LONGEST).ok().flatten();
    // It may have ended; then there is nothing to kill.
    let _ = child.kill();
    let _ = child.wait();
    // A panic of the reader has been reported where it happened.
    let _ = reader.join();
    described
}

fn read_all(mut stdout: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).ok().map(|_| bytes)
}
