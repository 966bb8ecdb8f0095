//! Pictures as records, with ticks and positions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use schemas::{Record, SourceKind, VideoFrame};
use serde::{Deserialize, Serialize};

use crate::arrival_clock::unix_ns;
use crate::video::VideoConfig;
use crate::video::address::Address;
use crate::video::arguments::arguments;
use crate::video::decoder_process::{Decoded, DecoderProcess, Next};
use crate::video::pictures;
use crate::{Collector, LinkNames, Poll, Source, SourceContext, SourceError};

/// How long a poll waits for a picture.
const POLL: Duration = Duration::from_millis(50);
/// Waits before a live stream is opened again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const NS_PER_S: f64 = 1e9;

/// The drop reasons.
const DAMAGED: &str = "damaged video";
const UNREADABLE: &str = "unreadable picture";
const LOST: &str = "stream lost";

/// A source of pictures.
pub(super) struct VideoSource {
    config: VideoConfig,
    address: Address,
    directory: PathBuf,
    site: String,
    name: String,
    collector: Collector,
    place: Place,
    input: Input,
}

/// The place of the next picture.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Number of pictures before it.
    n_frames: u64,
    /// Number of files before it, in a folder.
    n_files: u64,
    /// Presentation time of the last picture, in a video.
    last_ns: Option<i64>,
}

/// Where pictures come from.
enum Input {
    Folder(Vec<PathBuf>),
    Video(Video),
    Ended,
}

/// A running decoder, or the wait for the next one.
struct Video {
    process: Option<DecoderProcess>,
    /// The least difference of arrival and presentation time, for live streams.
    offset_ns: Option<i64>,
    arrived: Instant,
    wait: Duration,
}

impl VideoSource {
    pub(super) fn open(
        config: &VideoConfig,
        context: &SourceContext<'_>,
    ) -> Result<Self, SourceError> {
        let address = config.address();
        let names = LinkNames { site: context.site.to_owned(), ..LinkNames::default() };
        let kind = if address.is_live() { SourceKind::Live } else { SourceKind::Replay };
        let mut collector = Collector::new(names, kind, context);
        let place = if address.is_live() { None } else { collector.restore(context, "")? };
        let mut source = Self {
            config: config.clone(),
            address,
            directory: context.directory.to_owned(),
            site: context.site.to_owned(),
            name: context.name.to_owned(),
            collector,
            place: place.unwrap_or_default(),
            input: Input::Ended,
        };
        source.input = source.first_input()?;
        Ok(source)
    }

    pub(super) fn is_live(&self) -> bool {
        self.address.is_live()
    }

    fn first_input(&self) -> Result<Input, SourceError> {
        if let Address::File(path) = &self.address
            && self.directory.join(path).is_dir()
        {
            let failed = |source| SourceError::Read { path: path.clone(), source };
            return pictures::list(&self.directory.join(path)).map(Input::Folder).map_err(failed);
        }
        let (process, wait) = (Some(self.start()?), FIRST_WAIT);
        Ok(Input::Video(Video { process, offset_ns: None, arrived: now(), wait }))
    }

    /// Starts the decoder at the place of the next picture.
    fn start(&self) -> Result<DecoderProcess, SourceError> {
        // Half a nanosecond later than the last picture: times are finer than any time base of video.
        let from_s = self.place.last_ns.map(|last_ns| (last_ns as f64 + 0.5) / NS_PER_S);
        let arguments = arguments(&self.address, &self.directory, &self.config, from_s);
        DecoderProcess::start(arguments)
            .map_err(|source| SourceError::Ffmpeg { name: self.name.clone(), source })
    }

    /// Reads the next picture of a folder.
    fn next_file(&mut self) {
        let Input::Folder(files) = &self.input else { return };
        let nth = self.place.n_files;
        let Some(path) = usize::try_from(nth).ok().and_then(|nth| files.get(nth)).cloned() else {
            self.input = Input::Ended;
            return;
        };
        let place = Place { n_files: nth + 1, n_frames: self.place.n_frames + 1, last_ns: None };
        match pictures::decode(&path, self.config.max_width, self.config.max_height) {
            Ok(picture) => {
                let start_ns = self.config.starts_at_s.saturating_mul(1_000_000_000);
                let interval_ns = self.config.picture_interval.as_ns();
                let since_ns = interval_ns.saturating_mul(i64::try_from(nth).unwrap_or(i64::MAX));
                let frame = VideoFrame {
                    captured_at_ns: start_ns.saturating_add(since_ns),
                    name: stem(&path),
                    width: picture.pixels.width(),
                    height: picture.pixels.height(),
                    scale: picture.scale,
                    pixels: Arc::new(picture.pixels.into_raw()),
                    ..self.frame()
                };
                self.push(frame);
                self.place = place;
            }
            Err(reason) => {
                tracing::warn!(source = self.name, ?path, reason, "a picture cannot be read");
                self.collector.drop_record(UNREADABLE, nth);
                self.place.n_files = nth + 1;
            }
        }
    }

    /// Returns a frame without a picture.
    fn frame(&self) -> VideoFrame {
        VideoFrame {
            site: self.site.clone(),
            source: self.name.clone(),
            frame_id: self.place.n_frames,
            source_kind: if self.is_live() { SourceKind::Live } else { SourceKind::Replay },
            scale: 1.0,
            ..VideoFrame::default()
        }
    }

    fn push(&mut self, frame: VideoFrame) {
        let captured_at_ns = frame.captured_at_ns;
        // The position is the place before this picture: a granule ends before it.
        let place = self.place;
        self.collector.push_record(captured_at_ns, Record::Video(frame));
        self.collector.record_position(&place);
    }

    /// Takes the next picture of the decoder.
    fn next_picture(&mut self) -> Result<(), SourceError> {
        let Input::Video(video) = &mut self.input else { return Ok(()) };
        let Some(process) = &mut video.process else { return self.reconnect() };
        match process.next(POLL) {
            Next::Picture(decoded) => {
                (video.arrived, video.wait) = (now(), FIRST_WAIT);
                self.take(decoded);
            }
            Next::Nothing if self.is_silent() => self.lose("no picture arrives"),
            Next::Nothing => {}
            Next::End(fault) => self.end(fault.as_deref()),
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        let Input::Video(video) = &self.input else { return false };
        let timeout = Duration::from_nanos(self.config.idle_timeout.as_ns().unsigned_abs());
        self.is_live() && video.arrived.elapsed() > timeout
    }

    fn take(&mut self, Decoded { header, frame }: Decoded) {
        let Some(presented_ns) = header.time_base.nanoseconds(frame.pts) else { return };
        let is_due =
            |last_ns: i64| presented_ns.saturating_sub(last_ns) >= self.config.every.as_ns();
        if !self.place.last_ns.is_none_or(is_due) {
            return;
        }
        let place =
            Place { n_frames: self.place.n_frames + 1, last_ns: Some(presented_ns), ..self.place };
        let captured_at_ns = self.captured_at_ns(presented_ns);
        let picture = VideoFrame {
            captured_at_ns,
            width: header.width,
            height: header.height,
            pixels: Arc::new(frame.pixels),
            ..self.frame()
        };
        self.push(picture);
        self.place = place;
    }

    /// Returns the capture time: that of a live stream by its fastest picture so far.
    fn captured_at_ns(&mut self, presented_ns: i64) -> i64 {
        let start_ns = self.config.starts_at_s.saturating_mul(1_000_000_000);
        let is_live = self.is_live();
        match &mut self.input {
            Input::Video(video) if is_live => {
                let offset_ns = wall_clock_ns().saturating_sub(presented_ns);
                let least = video.offset_ns.map_or(offset_ns, |least| least.min(offset_ns));
                video.offset_ns = Some(least);
                least.saturating_add(presented_ns)
            }
            _ => start_ns.saturating_add(presented_ns),
        }
    }

    /// Handles the end of the decoder: of a file, or of a stream that is opened again.
    fn end(&mut self, fault: Option<&str>) {
        if self.is_live() {
            self.lose(fault.unwrap_or("the stream has ended"));
            return;
        }
        if let Some(fault) = fault {
            tracing::warn!(source = self.name, fault, "not all of the video could be read");
            self.collector.drop_record(DAMAGED, self.place.n_frames);
        }
        self.input = Input::Ended;
    }

    fn lose(&mut self, fault: &str) {
        tracing::warn!(source = self.name, fault, "the stream is lost, and will be opened again");
        self.collector.drop_record(LOST, self.place.n_frames);
        if let Input::Video(video) = &mut self.input {
            (video.process, video.offset_ns, video.arrived) = (None, None, now());
        }
    }

    /// Opens a lost stream again when it is time, each time after a longer wait.
    fn reconnect(&mut self) -> Result<(), SourceError> {
        let Input::Video(Video { arrived, wait, .. }) = &self.input else { return Ok(()) };
        let (arrived, wait) = (*arrived, *wait);
        if arrived.elapsed() < wait {
            thread::sleep(POLL.min(wait));
            return Ok(());
        }
        let process = Some(self.start()?);
        let wait = (wait * 2).min(LONGEST_WAIT);
        self.input = Input::Video(Video { process, offset_ns: None, arrived: now(), wait });
        Ok(())
    }
}

impl Source for VideoSource {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        match self.input {
            Input::Folder(_) => self.next_file(),
            Input::Video(_) => self.next_picture()?,
            Input::Ended => {}
        }
        if matches!(self.input, Input::Ended) {
            let place = self.place;
            return Ok(self.collector.finish(&place));
        }
        Ok(self.collector.take())
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[expect(clippy::disallowed_methods, reason = "sources read the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "sources read the clock")]
fn wall_clock_ns() -> i64 {
    unix_ns(SystemTime::now())
}
