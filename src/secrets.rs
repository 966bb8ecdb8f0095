//! Addresses in messages and files, without their secrets.

use url::Url;

/// Returns a path, or a URL without its user, password and query: signed URLs have a secret there. Of a URL that cannot
/// be understood, only the scheme is left.
pub(crate) fn without_secrets(from: &str) -> String {
    let Some((scheme, _)) = from.split_once("://") else { return from.to_owned() };
    let is_clear = |url: &Url| !url.fragment().is_some_and(|fragment| fragment.contains('@'));
    let Some(mut url) = Url::parse(from).ok().filter(is_clear) else {
        return format!("{scheme}://...");
    };
    // A URL without a host has neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_are_removed() {
        for (given, expected) in [
            ("clips/a b.mp4", "clips/a b.mp4"),
            ("rtsp://user:secret@camera:554/1", "rtsp://camera:554/1"),
            ("https://host/clip.mp4?signature=secret", "https://host/clip.mp4"),
            ("https://host/clip.mp4#secret", "https://host/clip.mp4"),
            // A password with a `#` that is not encoded: all after it is a fragment, or the port is no number.
            ("rtsp://user:12#34@camera/1", "rtsp://..."),
            ("rtsp://user:pa#ss@camera/1", "rtsp://..."),
        ] {
            assert_eq!(without_secrets(given), expected);
        }
    }
}
