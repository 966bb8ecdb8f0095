//! Both decoders, on clips that ffmpeg makes.

use std::process::Command;

use super::*;
use crate::video::decoder::{RunningDecoder, VideoDecoder};

/// Clips of two seconds: the arguments of ffmpeg that make them, and the file.
const CLIPS: [(&str, &str, &str); 8] = [
    ("B-frames", "-c:v libx264 -bf 3 -pix_fmt yuv420p", "bframes.mp4"),
    ("larger", "-vf scale=1920:1080 -c:v libx264 -preset ultrafast", "large.mp4"),
    ("wide pixels", "-vf setsar=16/11 -c:v mpeg4 -q:v 3", "wide.mp4"),
    ("wide pixels of the container", "-aspect 2.4 -c:v mpeg4 -q:v 3", "aspect.mkv"),
    ("full range", "-c:v mjpeg -q:v 3 -pix_fmt yuvj422p", "full.avi"),
    ("late start", "-c:v mpeg2video -q:v 3 -output_ts_offset 7", "late.ts"),
    ("uneven times", "-vf setpts=N*N/(25*TB*50) -vsync vfr -c:v libvpx -b:v 1M", "uneven.mkv"),
    ("no loss", "-c:v ffv1 -g 1", "plain.nut"),
];

fn config(decoder: VideoDecoder) -> VideoConfig {
    VideoConfig { decoder, ..toml::from_str("url = \"\"").expect("settings") }
}

fn ffmpeg(arguments: &str, folder: &Path) {
    let words = arguments.split(' ').filter(|word| !word.is_empty());
    let output = Command::new("ffmpeg").args(words).current_dir(folder).output();
    let output = output.expect("ffmpeg starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns time and size and pixels of each picture.
fn pictures(
    file: &Path,
    decoder: VideoDecoder,
    after_ns: Option<i64>,
) -> Vec<(i64, u32, u32, Vec<u8>)> {
    let address = Address::File(file.to_owned());
    let config = config(decoder);
    let mut decoder =
        RunningDecoder::start(&address, Path::new(""), &config, after_ns).expect("a decoder");
    let mut pictures = Vec::new();
    loop {
        match decoder.next(Duration::from_secs(30)) {
            Next::Picture(Decoded { header, frame }) => {
                let at_ns = header.time_base.nanoseconds(frame.pts).expect("a time");
                pictures.push((at_ns, header.width, header.height, frame.pixels));
            }
            Next::Nothing => panic!("no picture in 30 s"),
            Next::End(end) => {
                assert_eq!(end, End::Complete, "{}", file.display());
                return pictures;
            }
        }
    }
}

fn assert_same(name: &str, file: &Path, after_ns: Option<i64>) {
    let [process, library] =
        [VideoDecoder::Process, VideoDecoder::Library].map(|by| pictures(file, by, after_ns));
    assert!(process.len() > 10, "{name}: {} pictures", process.len());
    assert_eq!(process.len(), library.len(), "{name}");
    for (nth, (one, other)) in process.iter().zip(&library).enumerate() {
        assert_eq!((one.0, one.1, one.2), (other.0, other.1, other.2), "{name}: {nth}");
        assert!(one.3 == other.3, "{name}: the pixels of picture {nth} differ");
    }
}

#[test]
fn both_decoders_give_the_same_pictures() {
    let folder = tempfile::tempdir().expect("room");
    let source = "-v error -f lavfi -i testsrc2=size=322x240:rate=25:duration=2";
    for (name, arguments, file) in CLIPS {
        ffmpeg(&format!("{source} {arguments} {file}"), folder.path());
        let file = folder.path().join(file);
        assert_same(name, &file, None);
        assert_same(name, &file, Some(480_000_000));
    }
}

/// Also pictures in RGB, which the filters turn without a copy of their own.
#[test]
fn both_turn_pictures_as_the_container_says() {
    let folder = tempfile::tempdir().expect("room");
    let source = "-v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=1";
    for (codec, ending) in [("libx264", "mp4"), ("png -pix_fmt rgb24", "mov")] {
        ffmpeg(&format!("{source} -c:v {codec} upright.{ending}"), folder.path());
        for degrees in [90, 180, 270] {
            let name = format!("turned{degrees}.{ending}");
            let turn = format!("-c copy -metadata:s:v rotate={degrees} {name}");
            ffmpeg(&format!("-v error -i upright.{ending} {turn}"), folder.path());
            let file = folder.path().join(&name);
            let (_, width, height, _) = pictures(&file, VideoDecoder::Library, None)[0];
            assert_eq!(width < height, degrees != 180, "{name}");
            assert_same(&name, &file, None);
        }
    }
}

#[test]
fn what_is_no_video_is_an_error() {
    let folder = tempfile::tempdir().expect("room");
    let file = folder.path().join("text.mp4");
    std::fs::write(&file, "no video").expect("room");
    let address = Address::File(file);
    let config = config(VideoDecoder::Library);
    let mut decoder = LibraryDecoder::start(&address, Path::new(""), &config, None);
    let next = decoder.next(Duration::from_secs(30));
    assert!(matches!(next, Next::End(End::Damaged(_))), "{next:?}");
}

#[test]
fn a_decoder_that_nobody_needs_ends() {
    let folder = tempfile::tempdir().expect("room");
    let source = "-v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=20";
    ffmpeg(&format!("{source} -c:v mpeg4 long.mp4"), folder.path());
    let address = Address::File(folder.path().join("long.mp4"));
    let config = config(VideoDecoder::Library);
    let mut decoder = LibraryDecoder::start(&address, Path::new(""), &config, None);
    assert!(matches!(decoder.next(Duration::from_secs(30)), Next::Picture(_)));
    // Dropping waits for the thread.
    drop(decoder);
}
