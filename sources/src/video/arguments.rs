//! The arguments of `ffmpeg`.
//!
//! They are understood by versions 4.2 to 8. Presentation times pass through unchanged: without
//! `-enc_time_base -1` they would be rounded to the frame rate. Nothing may be opened that the address does not
//! name: formats that point at other files are not in the list, and `file` is never allowed together with a network.

use std::ffi::OsString;
use std::path::Path;

use crate::video::VideoConfig;
use crate::video::address::Address;

/// Containers that hold their data themselves.
pub(super) const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mjpeg,\
                       mpjpeg,h264,hevc,m4v,gif,rawvideo,nut,yuv4mpegpipe,ivf,av1,obu,mxf,dv,image2,png_pipe,jpeg_pipe,\
                       webp_pipe,bmp_pipe";
/// The limit of a decoder.
pub(super) const MAX_PIXELS: (&str, &str) = ("max_pixels", "67108864");
const MAX_STREAMS: &str = "64";
/// The format of a camera at this host.
pub(super) const DEVICE_FORMAT: &str = "v4l2";

/// Returns the arguments that decode the video at an address from a time on.
///
/// `after_ns` is the presentation time of the last picture that is not needed.
pub(super) fn arguments(
    address: &Address,
    directory: &Path,
    config: &VideoConfig,
    after_ns: Option<i64>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["-hide_banner", "-nostats", "-nostdin", "-v", "level+error"].map(OsString::from).into();
    arguments.extend(input(address, directory, config));
    let before_output = [
        "-map",
        "0:v:0",
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-an",
        "-sn",
        "-dn",
        "-vsync",
        "passthrough",
        "-enc_time_base",
        "-1",
        "-filter_threads",
        "1",
        "-vf",
    ];
    arguments.extend(before_output.map(OsString::from));
    arguments.push(filters(config, after_ns).into());
    let output = ["-c:v", "rawvideo", "-pix_fmt", "rgb24", "-f", "nut", "pipe:1"];
    arguments.extend(output.map(OsString::from));
    arguments
}

/// Returns the arguments up to the input.
fn input(address: &Address, directory: &Path, config: &VideoConfig) -> Vec<OsString> {
    let options = input_options(address, config).into_iter();
    let mut arguments: Vec<OsString> =
        options.flat_map(|(name, value)| [format!("-{name}").into(), value.into()]).collect();
    if matches!(address, Address::Device(_)) {
        arguments.extend(["-f", DEVICE_FORMAT].map(OsString::from));
    }
    arguments.extend(["-i".into(), input_name(address, directory)]);
    arguments
}

/// Returns the options of the container and its decoder.
pub(super) fn input_options(
    address: &Address,
    config: &VideoConfig,
) -> Vec<(&'static str, &'static str)> {
    let (protocols, formats) = match address {
        Address::File(_) => ("file", Some(FORMATS)),
        Address::Device(_) => ("file", None),
        Address::Rtsp(_) => ("rtsp,rtsps,tcp,tls", None),
        Address::Rtmp(_) => ("rtmp,rtmps,tcp,tls", None),
        Address::Hls(_) => ("https,http,tls,tcp", Some("hls,mpegts,mov")),
        Address::Http(_) => ("https,http,tls,tcp", Some(FORMATS)),
        Address::Unknown(_) => ("", None),
    };
    let mut options = vec![("protocol_whitelist", protocols)];
    options.extend(formats.map(|formats| ("format_whitelist", formats)));
    match address {
        Address::Rtsp(_) => options.push(("rtsp_transport", "tcp")),
        // MJPEG has no times.
        Address::Http(_) if config.live => options.push(("use_wallclock_as_timestamps", "1")),
        _ => {}
    }
    options.extend([("max_streams", MAX_STREAMS), MAX_PIXELS, ("threads", "1")]);
    options
}

/// Returns the name of the input; with its protocol, a path cannot be an option or another protocol.
pub(super) fn input_name(address: &Address, directory: &Path) -> OsString {
    match address {
        Address::File(path) | Address::Device(path) => {
            let mut file = OsString::from("file:");
            file.push(directory.join(path));
            file
        }
        Address::Rtsp(url) | Address::Rtmp(url) | Address::Hls(url) | Address::Http(url) => {
            url.as_str().into()
        }
        Address::Unknown(_) => OsString::new(),
    }
}

/// Returns the filters: the pictures from a time on, with square pixels, and never larger than they are.
pub(super) fn filters(config: &VideoConfig, after_ns: Option<i64>) -> String {
    let VideoConfig { max_width, max_height, .. } = config;
    let scale = format!("min(1/max(sar\\,1)\\,min({max_width}/(iw*sar)\\,{max_height}/ih))");
    let from =
        after_ns.map_or_else(String::new, |ns| format!("select=gte(t\\,{}),", just_after(ns)));
    format!(
        "{from}scale=w=max(1\\,round(iw*sar*{scale})):h=max(1\\,round(ih*{scale})):flags=bilinear"
    )
}

/// Returns a time in seconds that is half a nanosecond later: times of video are not as fine.
fn just_after(ns: i64) -> String {
    const NS_PER_S: i64 = 1_000_000_000;
    format!("{}.{:09}5", ns.div_euclid(NS_PER_S), ns.rem_euclid(NS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_rounded_to_the_picture_before() {
        assert_eq!(just_after(0), "0.0000000005");
        assert_eq!(just_after(966_666_666), "0.9666666665");
        assert_eq!(just_after(86_400_000_000_001), "86400.0000000015");
        // ffmpeg reads these numbers as 64-bit floats.
        for rate in [24, 25, 30, 50, 60, 1000] {
            for nth in 0..5000_i64 {
                let [this, next] = [nth, nth + 1].map(|nth| nth * 1_000_000_000 / rate);
                let after: f64 = just_after(this).parse().expect("a number");
                assert!(nth as f64 / rate as f64 <= after || this as f64 / 1e9 < after);
                assert!(after < next as f64 / 1e9, "{nth} at {rate}");
            }
        }
    }
}
