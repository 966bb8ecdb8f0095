//! Clips of known content, made by Debian's ffmpeg.

use std::path::Path;
use std::process::{Child, Command};

/// Returns true if ffmpeg is installed.
pub(crate) fn there() -> bool {
    Command::new("ffmpeg").arg("-version").output().is_ok_and(|output| output.status.success())
}

/// Makes a clip of a test picture in a folder, with `arguments` before the name of the output.
pub(crate) fn make_clip(folder: &Path, name: &str, source: &str, arguments: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", source]).args(arguments).arg(name);
    let output = command.current_dir(folder).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A camera that serves one client; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Camera(Child);

impl Camera {
    /// Serves a test picture at an RTMP address, or as MJPEG at an HTTP address.
    pub(crate) fn start(url: &str) -> Self {
        let picture = ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25"];
        let [codec, format] =
            if url.starts_with("rtmp") { ["flv1", "flv"] } else { ["mjpeg", "mpjpeg"] };
        let stream = ["-c:v", codec, "-g", "5", "-f", format, "-listen", "1", url];
        let child = Command::new("ffmpeg").args(picture).args(stream).spawn();
        Self(child.expect("ffmpeg is installed"))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
