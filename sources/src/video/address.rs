//! Where a video is.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// The kinds of places, which differ in how they are opened and whether they can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A file or a folder of pictures.
    File(PathBuf),
    /// A camera at this host.
    Device(PathBuf),
    /// A camera's stream.
    Rtsp(Url),
    /// A stream of a broadcaster.
    Rtmp(Url),
    /// A playlist that grows.
    Hls(Url),
    /// A file of a web server, or a live stream of one.
    Http(Url),
    /// A URL of another kind.
    Unknown(String),
}

impl Address {
    /// Returns the kind of place; text that does not begin with a scheme is a path.
    pub(super) fn parse(text: &str) -> Self {
        let Some((scheme, _)) = text.split_once("://") else {
            let is_device = text.starts_with("/dev/video");
            return if is_device { Self::Device(text.into()) } else { Self::File(text.into()) };
        };
        let Ok(url) = Url::parse(text) else { return Self::Unknown(scheme.to_owned()) };
        let is_playlist = Path::new(url.path())
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("m3u8"));
        match scheme {
            "rtsp" | "rtsps" => Self::Rtsp(url),
            "rtmp" | "rtmps" => Self::Rtmp(url),
            "http" | "https" if is_playlist => Self::Hls(url),
            "http" | "https" => Self::Http(url),
            _ => Self::Unknown(scheme.to_owned()),
        }
    }

    /// True for kinds of places that are always live.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Rtsp(_) | Self::Rtmp(_) | Self::Hls(_))
    }

    /// True if pictures come over a network.
    pub(super) fn needs_network(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Device(_))
    }

    /// Returns the reason why ffmpeg cannot read from the address, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let Self::Unknown(scheme) = self else { return None };
        Some(format!(
            "url must be a path, or begin with rtsp://, rtmp://, http:// or https://, not {scheme}://"
        ))
    }
}

/// For messages: without the user and password of a URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Device(path) => write!(f, "{}", path.display()),
            Self::Rtsp(url) | Self::Rtmp(url) | Self::Hls(url) | Self::Http(url) => {
                let mut url = url.clone();
                // A URL without a host has neither.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                write!(f, "{url}")
            }
            Self::Unknown(scheme) => write!(f, "{scheme}://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (text, shown, is_live) in [
            ("clip.mp4", "clip.mp4", false),
            ("/dev/video0", "/dev/video0", true),
            ("rtsp://user:secret@camera:554/1", "rtsp://camera:554/1", true),
            ("rtmp://host/live/a", "rtmp://host/live/a", true),
            ("https://host/live.M3U8?x=1", "https://host/live.M3U8?x=1", true),
            ("https://host/clip.mp4", "https://host/clip.mp4", false),
        ] {
            let address = Address::parse(text);
            assert_eq!((address.to_string().as_str(), address.is_live()), (shown, is_live));
            assert_eq!(address.problem(), None, "{text}");
        }
        for text in ["concat://a", "file:///etc/passwd", "rtsp://"] {
            let is_refused = Address::parse(text).problem().is_some();
            assert!(is_refused || text == "rtsp://", "{text}");
        }
    }
}
