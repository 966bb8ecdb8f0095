//! Pictures as records, with ticks and positions.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use schemas::{Event, EventId, EventType, Record, SourceKind, VideoFrame};
use serde::{Deserialize, Serialize};

use crate::arrival_clock::unix_ns;
use crate::video::VideoConfig;
use crate::video::address::Address;
use crate::video::decoder::{Decoded, End, Next, RunningDecoder};
use crate::video::pictures;
use crate::video::probe::describe_video;
use crate::{Collector, LinkNames, Poll, Source, SourceContext, SourceError};

/// How long a poll waits for a picture.
const POLL: Duration = Duration::from_millis(50);
/// Waits before a live stream is opened again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Time between two checks for room. Operators on any thread free the pixels, and do not notify the source.
const POLL_WHILE_FULL: Duration = Duration::from_millis(2);
/// Bytes of pixels that are in use, beyond which the next picture waits.
const MAX_BYTES_IN_USE: usize = 64 << 20;
/// Pictures of a live stream that are in use, beyond which the next one is left out.
const MAX_LIVE_IN_USE: usize = 8;
/// Attempts to read from a web server without a picture.
const MAX_ATTEMPTS: u32 = 8;
/// In ffmpeg's message about a response with a status from 400 to 499.
const REFUSED: &str = "Server returned 4";
/// The share of time by which a camera's clock may be wrong: 1 / 5000.
const MAX_CLOCK_ERROR: i64 = 5000;
/// The longest backward step of a live stream's time that counts as jitter. A longer one starts a new time line.
const MAX_STEP_BACK_NS: i64 = 1_000_000_000;

/// The drop reasons.
const DAMAGED: &str = "damaged video";
const UNREADABLE: &str = "unreadable picture";
const LOST: &str = "stream lost";
const BACK: &str = "time went back";
const TOO_SLOW: &str = "the pipeline is too slow";

/// A source of pictures.
pub(super) struct VideoSource {
    config: VideoConfig,
    is_live: bool,
    address: Address,
    directory: PathBuf,
    site: String,
    name: String,
    collector: Collector,
    place: Place,
    input: Input,
    /// Pixels that may still be in use.
    in_use: VecDeque<Weak<Vec<u8>>>,
    /// Pictures of a live stream that were left out since the last one.
    n_left_out: u64,
    /// Pictures that were dropped since the last one, because their time is not later.
    n_back: u64,
    /// The longer side of the original pictures, if it is known.
    longer_side: Option<u32>,
}

/// The place of the next picture.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Number of pictures before it.
    n_frames: u64,
    /// Number of files before it, in a folder.
    n_files: u64,
    /// The last file before it, in a folder.
    last_file: Option<PathBuf>,
    /// Presentation time of the last picture, in a video.
    last_ns: Option<i64>,
}

/// Where pictures come from.
enum Input {
    Folder(VecDeque<PathBuf>),
    Video(Video),
    Ended,
}

/// A running decoder, or the wait for the next one.
struct Video {
    decoder: Option<RunningDecoder>,
    /// True from its first picture on.
    is_connected: bool,
    /// The least difference of arrival and presentation time, for live streams.
    offset_ns: Option<i64>,
    /// The presentation time that it was last compared with.
    last_seen_ns: Option<i64>,
    arrived: Instant,
    wait: Duration,
    /// Attempts since the last picture.
    n_attempts: u32,
}

impl Video {
    fn new(decoder: RunningDecoder, wait: Duration, n_attempts: u32) -> Self {
        let (decoder, is_connected) = (Some(decoder), false);
        Self {
            decoder,
            is_connected,
            offset_ns: None,
            last_seen_ns: None,
            arrived: now(),
            wait,
            n_attempts,
        }
    }
}

impl VideoSource {
    pub(super) fn open(
        config: &VideoConfig,
        context: &SourceContext<'_>,
    ) -> Result<Self, SourceError> {
        let address = config.address();
        let names = LinkNames { site: config.site_or(context.site), ..LinkNames::default() };
        let is_live = config.is_live();
        let kind = if is_live { SourceKind::Live } else { SourceKind::Replay };
        let mut collector = Collector::new(names, kind, context);
        let mut place: Place = collector.restore(context, "")?.unwrap_or_default();
        if is_live {
            place.last_ns = None;
        }
        let longer_side = match &address {
            Address::File(path) => describe_video(&context.directory.join(path)),
            _ => None,
        };
        let mut source = Self {
            config: config.clone(),
            is_live,
            address,
            directory: context.directory.to_owned(),
            site: config.site_or(context.site),
            name: context.name.to_owned(),
            collector,
            place,
            input: Input::Ended,
            in_use: VecDeque::new(),
            n_left_out: 0,
            n_back: 0,
            longer_side: longer_side.map(|described| described.longer_side),
        };
        source.input = source.first_input()?;
        Ok(source)
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    fn first_input(&self) -> Result<Input, SourceError> {
        if let Address::File(path) = &self.address
            && self.directory.join(path).is_dir()
        {
            let failed = |source| SourceError::Read { path: path.clone(), source };
            let files = pictures::list(&self.directory.join(path)).map_err(failed)?;
            let last = self.place.last_file.as_deref();
            let rest = last.map_or(&files[..], |last| pictures::after(&files, last));
            return Ok(Input::Folder(rest.iter().cloned().collect()));
        }
        if let Address::File(path) = &self.address {
            let failed = |source| SourceError::Read { path: path.clone(), source };
            fs::metadata(self.directory.join(path)).map_err(failed)?;
        }
        Ok(Input::Video(Video::new(self.start()?, FIRST_WAIT, 1)))
    }

    /// Starts the decoder at the place of the next picture.
    fn start(&self) -> Result<RunningDecoder, SourceError> {
        RunningDecoder::start(&self.address, &self.directory, &self.config, self.place.last_ns)
            .map_err(|source| SourceError::Ffmpeg { name: self.name.clone(), source })
    }

    /// Reads the next picture of a folder.
    fn next_file(&mut self) {
        let Input::Folder(files) = &mut self.input else { return };
        let Some(path) = files.pop_front() else {
            self.input = Input::Ended;
            return;
        };
        let nth = self.place.n_files;
        let mut place = self.place.clone();
        (place.n_files, place.last_file) = (nth + 1, Some(path.clone()));
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
                place.n_frames += 1;
            }
            Err(reason) => {
                tracing::warn!(source = self.name, ?path, reason, "a picture cannot be read");
                self.collector.drop_record(UNREADABLE, nth);
            }
        }
        self.place = place;
    }

    /// Returns a frame without a picture.
    fn frame(&self) -> VideoFrame {
        VideoFrame {
            site: self.site.clone(),
            source: self.name.clone(),
            frame_id: self.place.n_frames,
            source_kind: if self.is_live { SourceKind::Live } else { SourceKind::Replay },
            scale: 1.0,
            ..VideoFrame::default()
        }
    }

    fn push(&mut self, frame: VideoFrame) {
        let captured_at_ns = frame.captured_at_ns;
        self.in_use.push_back(Arc::downgrade(&frame.pixels));
        // The position is the place before this picture: a granule ends before it.
        self.collector.push_record(captured_at_ns, Record::Video(frame));
        self.collector.record_position(&self.place);
    }

    /// True while pictures that are in use leave no room for another one.
    fn is_full(&mut self) -> bool {
        self.in_use.retain(|pixels| pixels.strong_count() > 0);
        let pixels = self.in_use.iter().filter_map(Weak::upgrade);
        let n_bytes: usize = pixels.map(|pixels| pixels.len()).sum();
        // The tick of the last picture is open until the next one.
        let waits = self.in_use.len() > 2 && n_bytes > MAX_BYTES_IN_USE;
        waits || (self.is_live && self.in_use.len() >= MAX_LIVE_IN_USE)
    }

    /// Takes the next picture of the decoder.
    fn next_picture(&mut self) -> Result<(), SourceError> {
        let Input::Video(video) = &mut self.input else { return Ok(()) };
        let Some(decoder) = &mut video.decoder else { return self.reconnect() };
        match decoder.next(POLL) {
            Next::Picture(decoded) => {
                (video.arrived, video.wait, video.n_attempts) = (now(), FIRST_WAIT, 0);
                let is_new = !std::mem::replace(&mut video.is_connected, true);
                if is_new && self.is_live {
                    self.tell(EventType::RouterConnected);
                }
                self.take(decoded);
            }
            Next::Nothing if self.is_silent() => self.lose("no picture arrives"),
            Next::Nothing => {}
            Next::End(end) => self.end(end),
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        let Input::Video(video) = &self.input else { return false };
        let timeout = Duration::from_nanos(self.config.idle_timeout.as_ns().unsigned_abs());
        self.is_live && video.arrived.elapsed() > timeout
    }

    fn take(&mut self, Decoded { header, frame }: Decoded) {
        let Some(presented_ns) = header.time_base.nanoseconds(frame.pts) else { return };
        self.reset_after_step_back(presented_ns);
        if self.place.last_ns.is_some_and(|last_ns| !self.is_due(presented_ns, last_ns)) {
            return;
        }
        let captured_at_ns = self.captured_at_ns(presented_ns);
        if self.is_live && self.is_full() {
            self.n_left_out += 1;
            // Otherwise the current tick stays open, and the sinks keep its pictures.
            self.collector.advance_to(captured_at_ns);
            self.collector.record_position(&self.place);
            return;
        }
        self.report_dropped();
        let picture = VideoFrame {
            captured_at_ns,
            width: header.width,
            height: header.height,
            scale: self.longer_side.map_or(1.0, |longer_side| {
                longer_side as f32 / header.width.max(header.height) as f32
            }),
            pixels: Arc::new(frame.pixels),
            ..self.frame()
        };
        self.push(picture);
        (self.place.n_frames, self.place.last_ns) = (self.place.n_frames + 1, Some(presented_ns));
    }

    /// Reports the pictures that were dropped since the last one.
    fn report_dropped(&mut self) {
        let counts = [(TOO_SLOW, &mut self.n_left_out), (BACK, &mut self.n_back)];
        for (reason, count) in counts {
            let n_pictures = std::mem::take(count);
            if n_pictures > 0 {
                self.collector.drop_records(reason, n_pictures, self.place.n_frames);
            }
        }
    }

    /// Returns false for a picture that is closer to the last one than `every`, or not later.
    fn is_due(&mut self, presented_ns: i64, last_ns: i64) -> bool {
        let since_ns = presented_ns.saturating_sub(last_ns);
        if since_ns <= 0 {
            self.n_back += 1;
            return false;
        }
        since_ns >= self.config.every.as_ns()
    }

    /// Resets the time line of a live stream after a backward step.
    fn reset_after_step_back(&mut self, presented_ns: i64) {
        let is_back = |last_ns: i64| presented_ns < last_ns.saturating_sub(MAX_STEP_BACK_NS);
        let is_back = self.is_live && self.place.last_ns.is_some_and(is_back);
        if let Input::Video(video) = &mut self.input
            && is_back
        {
            (video.offset_ns, video.last_seen_ns, self.place.last_ns) = (None, None, None);
        }
    }

    /// Returns the capture time: that of a live stream by its fastest picture so far.
    fn captured_at_ns(&mut self, presented_ns: i64) -> i64 {
        let start_ns = self.config.starts_at_s.saturating_mul(1_000_000_000);
        let is_live = self.is_live;
        match &mut self.input {
            Input::Video(video) if is_live => {
                let offset_ns = wall_clock_ns().saturating_sub(presented_ns);
                let last_seen_ns = video.last_seen_ns.replace(presented_ns);
                let since_ns = presented_ns.saturating_sub(last_seen_ns.unwrap_or(presented_ns));
                // It may rise slowly, or a camera whose clock is slow would fall behind.
                let risen = |least: i64| least.saturating_add(since_ns.max(0) / MAX_CLOCK_ERROR);
                let least = video.offset_ns.map_or(offset_ns, |least| risen(least).min(offset_ns));
                video.offset_ns = Some(least);
                least.saturating_add(presented_ns)
            }
            _ => start_ns.saturating_add(presented_ns),
        }
    }

    /// Handles the end of the decoder: of a file, or of a stream that is opened again.
    fn end(&mut self, end: End) {
        let is_playlist = matches!(self.address, Address::Hls(_));
        match end {
            // A playlist of a whole video has an end; a live one has not.
            End::Complete if !self.is_live || is_playlist => self.input = Input::Ended,
            End::Complete => self.lose("the stream has ended"),
            End::Killed => self.lose("ffmpeg was killed"),
            End::Damaged(fault) if self.may_be_an_outage(&fault) => {
                self.lose(&self.without_secrets(&fault));
            }
            End::Damaged(fault) => {
                let fault = self.without_secrets(&fault);
                tracing::warn!(source = self.name, fault, "not all of the video could be read");
                self.collector.drop_record(DAMAGED, self.place.n_frames);
                self.input = Input::Ended;
            }
        }
    }

    /// True for a live stream, and for a web server that did not fail too often, or that refuses the request.
    fn may_be_an_outage(&self, fault: &str) -> bool {
        let Input::Video(Video { n_attempts, .. }) = self.input else { return false };
        let is_refused = fault.contains(REFUSED);
        let is_file = matches!(self.address, Address::Http(_));
        self.is_live || (is_file && !is_refused && n_attempts < MAX_ATTEMPTS)
    }

    /// Returns a message of ffmpeg without the user and password of the URL.
    fn without_secrets(&self, fault: &str) -> String {
        fault.replace(&self.config.url, &self.address.to_string())
    }

    fn lose(&mut self, fault: &str) {
        tracing::warn!(source = self.name, fault, "the stream is lost, and will be opened again");
        self.collector.drop_record(LOST, self.place.n_frames);
        let Input::Video(video) = &mut self.input else { return };
        let was_connected = std::mem::take(&mut video.is_connected);
        (video.decoder, video.offset_ns, video.arrived) = (None, None, now());
        if self.is_live {
            // The times of the next connection begin anew.
            self.place.last_ns = None;
            if was_connected {
                self.tell(EventType::RouterDisconnected);
            }
        }
    }

    /// Moves the clock of a stream from which nothing arrives: at a distance, it follows the wall clock.
    fn follow_the_wall_clock(&mut self) {
        let now_ns = wall_clock_ns().saturating_sub(self.config.idle_timeout.as_ns());
        self.collector.advance_to(now_ns);
        self.collector.record_position(&self.place);
    }

    /// Adds an event of the camera.
    fn tell(&mut self, event_type: EventType) {
        let at_ns = wall_clock_ns();
        let tick = u64::try_from(at_ns / 1_000_000).unwrap_or_default();
        let event = Event {
            id: EventId::derive(&self.site, tick, event_type, &self.name),
            event_type,
            site: self.site.clone(),
            occurred_at_ns: at_ns,
            subject: self.name.clone(),
            confidence: 1.0,
            source_kind: SourceKind::Live,
            ..Event::default()
        };
        self.collector.push_record(at_ns, Record::Event(event));
        self.collector.record_position(&self.place);
    }

    /// Opens a lost stream again when it is time, each time after a longer wait.
    fn reconnect(&mut self) -> Result<(), SourceError> {
        let Input::Video(Video { arrived, wait, n_attempts, .. }) = self.input else {
            return Ok(());
        };
        let left = wait.saturating_sub(arrived.elapsed());
        if !left.is_zero() {
            // The back-off is a time, not an event; a poll stays short, so that the source sees a stop.
            thread::sleep(POLL.min(left));
            return Ok(());
        }
        let decoder = self.start()?;
        let wait = (wait * 2).min(LONGEST_WAIT);
        self.input = Input::Video(Video::new(decoder, wait, n_attempts + 1));
        Ok(())
    }
}

impl Source for VideoSource {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        // The next picture waits until there is room; one of a live stream is left out then.
        let waits = !self.is_live && self.is_full();
        match self.input {
            Input::Ended => {}
            _ if waits => thread::sleep(POLL_WHILE_FULL),
            Input::Folder(_) => self.next_file(),
            Input::Video(_) => self.next_picture()?,
        }
        if matches!(self.input, Input::Ended) {
            self.report_dropped();
            return Ok(self.collector.finish(&self.place));
        }
        if self.is_live {
            self.follow_the_wall_clock();
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
