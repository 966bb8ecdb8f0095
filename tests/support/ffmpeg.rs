//! Clips of known content, made by Debian's ffmpeg.

use std::path::Path;
use std::process::Command;

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
