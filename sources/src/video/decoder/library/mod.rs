//! A decoder in this process, by the libraries of ffmpeg. It returns the same pictures as the process, without a pipe.
//!
//! A thread decodes, and blocks while its queue is full. A fault of a decoder is a fault of this process, and its
//! memory has no limit. Use it for trusted videos only.

mod pictures;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;
use ffmpeg_next::media::Type as Media;
use ffmpeg_next::util::error::EAGAIN;
use ffmpeg_next::{Dictionary, Error, Packet, Rescale as _, format, log, rescale};

use crate::video::VideoConfig;
use crate::video::address::Address;
use crate::video::arguments::{filters, input_name, input_options};
use crate::video::decoder::library::pictures::Pictures;
use crate::video::decoder::{Decoded, End, MAX_WAITING, Next};

/// The pause before a packet is requested again from a container that has none yet. The libraries offer no event for
/// it; the program `ffmpeg` pauses as well.
const PAUSE: Duration = Duration::from_millis(10);

/// A running decoder. Dropping it ends its thread.
#[derive(Debug)]
pub(in crate::video) struct LibraryDecoder {
    pictures: Receiver<Decoded>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<End>>,
}

impl LibraryDecoder {
    /// Starts a decoder, for all pictures or for those after a presentation time.
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
            options: input_options(address, config),
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
        // The thread may block on a full queue.
        let (_, none) = bounded(0);
        self.pictures = none;
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The input and the filters of the thread.
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
        // The libraries would write their faults to standard error, and they are returned.
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
