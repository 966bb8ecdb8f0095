//! The libraries of ffmpeg within this process: the same pictures as those of the process, without a pipe.
//!
//! A thread decodes, and waits while the source does not take pictures. A fault of a decoder is a fault of this
//! process, and there is no limit on its memory: it is for videos that are trusted.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ffmpeg_next::codec::context::Context;
use ffmpeg_next::codec::packet::side_data::Type as SideData;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;
use ffmpeg_next::media::Type as Media;
use ffmpeg_next::util::error::EAGAIN;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Rescale as _, codec, decoder, filter, format, frame, log,
    rescale,
};

use crate::video::VideoConfig;
use crate::video::address::Address;
use crate::video::arguments::{MAX_PIXELS, filters, input_name, input_options};
use crate::video::decoder::{Decoded, End, MAX_WAITING, Next};
use crate::video::nut::{Frame, Header, TimeBase};

/// The pause before the next attempt to read from a stream that has nothing yet.
const PAUSE: Duration = Duration::from_millis(5);

/// A running decoder; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct LibraryDecoder {
    pictures: Receiver<Decoded>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<End>>,
}

impl LibraryDecoder {
    /// Starts to decode the video at an address, from a time on.
    pub(super) fn start(
        address: &Address,
        directory: &Path,
        config: &VideoConfig,
        after_ns: Option<i64>,
    ) -> Self {
        let (to, pictures) = bounded(MAX_WAITING);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let job = Job {
            name: input_name(address, directory),
            options: input_options(address),
            filters: filters(config, after_ns),
            is_stopped: Arc::clone(&is_stopped),
        };
        let thread = thread::spawn(move || job.run(&to));
        Self { pictures, is_stopped, thread: Some(thread) }
    }

    /// Returns the next picture, if there is one within a time.
    pub(super) fn next(&mut self, timeout: Duration) -> Next {
        match self.pictures.recv_timeout(timeout) {
            Ok(decoded) => Next::Picture(decoded),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End(self.end()),
        }
    }

    fn end(&mut self) -> End {
        let end = self.thread.take().and_then(|thread| thread.join().ok());
        end.unwrap_or_else(|| End::Damaged("the decoder failed".to_owned()))
    }
}

impl Drop for LibraryDecoder {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // The thread may wait for room.
        let (_, none) = bounded(0);
        self.pictures = none;
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread decodes.
struct Job {
    name: OsString,
    options: Vec<(&'static str, &'static str)>,
    filters: String,
    is_stopped: Arc<AtomicBool>,
}

impl Job {
    fn run(&self, to: &Sender<Decoded>) -> End {
        let Some(name) = self.name.to_str() else {
            return End::Damaged("its path is not UTF-8".to_owned());
        };
        match self.decode(name, to) {
            Ok(None) => End::Complete,
            Ok(Some(fault)) | Err(fault) => End::Damaged(fault.to_string()),
        }
    }

    /// Decodes all of the video. Returns the last fault of a packet.
    fn decode(&self, name: &str, to: &Sender<Decoded>) -> Result<Option<Error>, Error> {
        ffmpeg_next::init()?;
        // Faults are returned; the log is for the terminal.
        log::set_level(log::Level::Quiet);
        let mut input = self.open(name)?;
        let start_us = start_us(&input);
        let mut streams = input.streams();
        let is_video = |stream: &Stream<'_>| stream.parameters().medium() == Media::Video;
        let stream = streams.find(is_video).ok_or(Error::StreamNotFound)?;
        let mut pictures = Pictures::new(&stream, start_us, &self.filters, to)?;
        let (nth, mut fault) = (stream.index(), None);
        while !self.is_stopped.load(Ordering::Relaxed) && !pictures.is_closed {
            let mut packet = Packet::empty();
            match packet.read(&mut input) {
                Ok(()) if packet.stream() != nth => {}
                Ok(()) => fault = pictures.decode(&packet).err().or(fault),
                Err(Error::Eof) => break,
                // Nothing is there yet.
                Err(Error::Other { errno: EAGAIN }) => thread::sleep(PAUSE),
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        let finished = pictures.finish();
        Ok(fault.or(finished.err()))
    }

    fn open(&self, name: &str) -> Result<Input, Error> {
        let mut options = Dictionary::new();
        for (name, value) in &self.options {
            options.set(name, value);
        }
        let is_stopped = Arc::clone(&self.is_stopped);
        let interrupt = move || is_stopped.load(Ordering::Relaxed);
        format::input_with_interrupt_and_dictionary(name, interrupt, options)
    }
}

/// Returns the time of the first sound or picture, which is the start of the video, in microseconds.
fn start_us(input: &Input) -> i64 {
    let has_time = |stream: &Stream<'_>| {
        let medium = stream.parameters().medium();
        matches!(medium, Media::Video | Media::Audio) && stream.start_time() != i64::MIN
    };
    let us =
        |stream: Stream<'_>| stream.start_time().rescale(stream.time_base(), rescale::TIME_BASE);
    input.streams().filter(has_time).map(us).min().unwrap_or(0)
}

/// Decodes packets to pictures, and sends them.
struct Pictures<'a> {
    decoder: decoder::Video,
    time_base: Rational,
    /// The time of the start of the video, in the time base.
    start: i64,
    /// That of the container, where the decoder knows none.
    pixel_aspect: Rational,
    filters: String,
    graph: Option<(Shape, filter::Graph)>,
    to: &'a Sender<Decoded>,
    /// True if nobody takes pictures any more.
    is_closed: bool,
}

/// What a graph of filters is made for.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    width: u32,
    height: u32,
    pixels: &'static str,
    pixel_aspect: Rational,
}

impl<'a> Pictures<'a> {
    fn new(
        stream: &Stream<'_>,
        start_us: i64,
        filters: &str,
        to: &'a Sender<Decoded>,
    ) -> Result<Self, Error> {
        let time_base = stream.time_base();
        let mut decoder = Context::from_parameters(stream.parameters())?.decoder();
        decoder.set_packet_time_base(time_base);
        let codec = codec::decoder::find(decoder.id()).ok_or(Error::DecoderNotFound)?;
        let mut options = Dictionary::new();
        for (name, value) in [MAX_PIXELS, ("threads", "1")] {
            options.set(name, value);
        }
        Ok(Self {
            decoder: decoder.open_as_with(codec, options)?.video()?,
            time_base,
            start: start_us.rescale(rescale::TIME_BASE, time_base),
            pixel_aspect: pixel_aspect(stream),
            // The copy makes rows of pictures that were turned follow each other downwards.
            filters: format!("{}{filters},format=pix_fmts=rgb24,copy", upright(stream)),
            graph: None,
            to,
            is_closed: false,
        })
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), Error> {
        self.decoder.send_packet(packet)?;
        self.receive()
    }

    /// Sends the pictures that the decoder still has.
    fn finish(&mut self) -> Result<(), Error> {
        self.decoder.send_eof()?;
        self.receive()?;
        self.flush()
    }

    fn receive(&mut self) -> Result<(), Error> {
        let mut picture = frame::Video::empty();
        let mut filtered = Ok(());
        while has_more(self.decoder.receive_frame(&mut picture))? {
            filtered = filtered.and(self.filter(&mut picture));
        }
        filtered
    }

    fn filter(&mut self, picture: &mut frame::Video) -> Result<(), Error> {
        let Some(at) = picture.timestamp() else { return Err(Error::InvalidData) };
        picture.set_pts(Some(at.saturating_sub(self.start)));
        let shape = self.shape(picture)?;
        if self.graph.as_ref().is_none_or(|(of, _)| *of != shape) {
            self.flush()?;
            let graph = shape.graph(self.time_base, &self.filters)?;
            self.graph = Some((shape, graph));
        }
        if let Some((_, graph)) = &mut self.graph {
            graph.get("in").ok_or(Error::FilterNotFound)?.source().add(picture)?;
        }
        self.send()
    }

    fn shape(&self, picture: &frame::Video) -> Result<Shape, Error> {
        let pixels = picture.format().descriptor().ok_or(Error::InvalidData)?.name();
        let given = [self.pixel_aspect, picture.aspect_ratio()];
        let pixel_aspect = given.into_iter().find(|aspect| aspect.numerator() > 0);
        let pixel_aspect = pixel_aspect.unwrap_or(Rational(1, 1));
        Ok(Shape { width: picture.width(), height: picture.height(), pixels, pixel_aspect })
    }

    /// Sends the pictures that the filters still have.
    fn flush(&mut self) -> Result<(), Error> {
        if let Some((_, graph)) = &mut self.graph {
            graph.get("in").ok_or(Error::FilterNotFound)?.source().flush()?;
        }
        self.send()?;
        self.graph = None;
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        let Some((_, graph)) = &mut self.graph else { return Ok(()) };
        let mut sink = graph.get("out").ok_or(Error::FilterNotFound)?;
        let mut picture = frame::Video::empty();
        while has_more(sink.sink().frame(&mut picture))? {
            let time_base = sink.sink().time_base();
            if let Some(decoded) = decoded(&picture, time_base) {
                self.is_closed |= self.to.send(decoded).is_err();
            }
        }
        Ok(())
    }
}

impl Shape {
    fn graph(&self, time_base: Rational, filters: &str) -> Result<filter::Graph, Error> {
        let Self { width, height, pixels, pixel_aspect } = self;
        let find = |name| filter::find(name).ok_or(Error::FilterNotFound);
        let fraction = |of: Rational| format!("{}/{}", of.numerator(), of.denominator());
        let (time_base, pixel_aspect) = (fraction(time_base), fraction(*pixel_aspect));
        let arguments = format!(
            "video_size={width}x{height}:pix_fmt={pixels}:time_base={time_base}:\
             pixel_aspect={pixel_aspect}"
        );
        let mut graph = filter::Graph::new();
        graph.add(&find("buffer")?, "in", &arguments)?;
        graph.add(&find("buffersink")?, "out", "")?;
        graph.output("in", 0)?.input("out", 0)?.parse(filters)?;
        graph.validate()?;
        Ok(graph)
    }
}

/// Returns whether there was a picture; false if the next one needs more packets, or at the end.
fn has_more(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Other { errno: EAGAIN } | Error::Eof) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the picture without the space between its rows; none if it has no time.
fn decoded(picture: &frame::Video, time_base: Rational) -> Option<Decoded> {
    let pts = picture.pts().filter(|pts| *pts >= 0)?;
    let row_len = usize::try_from(picture.width()).ok()? * 3;
    let n_rows = usize::try_from(picture.height()).ok()?;
    // A negative distance of rows would be a huge number here.
    let step = Some(picture.stride(0)).filter(|step| i32::try_from(*step).is_ok())?;
    let rows = picture.data(0).chunks(step.max(1)).take(n_rows);
    let mut pixels = Vec::with_capacity(row_len * n_rows);
    for row in rows {
        pixels.extend_from_slice(row.get(..row_len)?);
    }
    let header = Header {
        width: picture.width(),
        height: picture.height(),
        time_base: TimeBase {
            numerator: u32::try_from(time_base.numerator()).ok()?,
            denominator: u32::try_from(time_base.denominator()).ok()?,
        },
    };
    Some(Decoded { header, frame: Frame { pts, pixels } })
}

/// Returns the shape of a pixel that the container names; 0 if it names none.
#[expect(unsafe_code, reason = "the crate has no function for it")]
fn pixel_aspect(stream: &Stream<'_>) -> Rational {
    // SAFETY: the stream is valid while it is borrowed, and the field is a plain number.
    unsafe { (*stream.as_ptr()).sample_aspect_ratio }.into()
}

/// Returns the filters that turn a picture as the container says.
fn upright(stream: &Stream<'_>) -> &'static str {
    let data = stream.side_data().find(|data| data.kind() == SideData::DisplayMatrix);
    let Some(data) = data else { return "" };
    let numbers = data.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_ne_bytes(*bytes));
    let numbers: Vec<_> = numbers.map(i32::signum).collect();
    // The matrix of turns and mirrors: right and down of the picture, in the directions of the screen.
    match numbers.as_slice() {
        [0, 1, _, -1, 0, ..] => "transpose=clock,",
        [0, 1, _, 1, 0, ..] => "transpose=cclock_flip,",
        [-1, 0, _, 0, -1, ..] => "hflip,vflip,",
        [-1, 0, _, 0, 1, ..] => "hflip,",
        [1, 0, _, 0, -1, ..] => "vflip,",
        [0, -1, _, 1, 0, ..] => "transpose=cclock,",
        [0, -1, _, -1, 0, ..] => "transpose=clock_flip,",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
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

    #[test]
    fn both_turn_pictures_as_the_container_says() {
        let folder = tempfile::tempdir().expect("room");
        let source = "-v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=1";
        ffmpeg(&format!("{source} -c:v libx264 upright.mp4"), folder.path());
        for degrees in [90, 180, 270] {
            let file = PathBuf::from(format!("turned{degrees}.mp4"));
            let turned = format!(
                "-v error -i upright.mp4 -c copy -metadata:s:v rotate={degrees} {}",
                file.display()
            );
            ffmpeg(&turned, folder.path());
            let file = folder.path().join(file);
            let (_, width, height, _) = pictures(&file, VideoDecoder::Library, None)[0];
            assert_eq!(width < height, degrees != 180, "{degrees}");
            assert_same(&degrees.to_string(), &file, None);
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
}
