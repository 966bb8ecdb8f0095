//! A running `ffmpeg`, and the pictures that it writes.
//!
//! A thread reads its output, and waits while the source does not take pictures; ffmpeg then waits too. Another
//! one keeps the last lines of its errors.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::video::confinement;
use crate::video::decoder::{Decoded, End, MAX_WAITING, Next};
use crate::video::nut::{Event, NutDecoder};

/// Bytes of one read: part of a picture.
const READ_BYTES: usize = 256 * 1024;
/// The largest picture: 8192 by 8192 pixels.
const MAX_PICTURE_BYTES: usize = 8192 * 8192 * 3;
/// Lines of errors that are kept.
const MAX_ERROR_LINES: usize = 8;
const MAX_ERROR_LINE_BYTES: u64 = 512;
/// In ffmpeg's message about a file without pictures; the lines after it are advice about ffmpeg's arguments.
const NO_VIDEO: &str = "matches no streams";

/// A running `ffmpeg`; it ends when this is dropped.
#[derive(Debug)]
pub(in crate::video) struct DecoderProcess {
    child: Child,
    pictures: Receiver<Result<Decoded, String>>,
    /// Returns whether the output was complete.
    reader: Option<JoinHandle<bool>>,
    errors: Option<JoinHandle<Vec<String>>>,
}

impl DecoderProcess {
    /// Starts `ffmpeg`. With `may_be_empty`, an output without pictures is complete, because the video may have been
    /// read to its end before.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if it cannot be started.
    pub(super) fn start(
        arguments: Vec<OsString>,
        needs_network: bool,
        may_be_empty: bool,
    ) -> io::Result<Self> {
        let mut child = confinement::spawn("ffmpeg", needs_network, |command| {
            command.args(arguments);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            // A signal to this process's group, such as Ctrl-C, is for this process.
            command.process_group(0);
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (to, pictures) = bounded(MAX_WAITING);
        let reader =
            stdout.map(|stdout| thread::spawn(move || read_pictures(stdout, may_be_empty, &to)));
        let errors = stderr.map(|stderr| thread::spawn(move || read_errors(stderr)));
        Ok(Self { child, pictures, reader, errors })
    }

    /// Returns the next picture, if there is one within a time.
    pub(super) fn next(&mut self, timeout: Duration) -> Next {
        match self.pictures.recv_timeout(timeout) {
            Ok(Ok(decoded)) => Next::Picture(decoded),
            Ok(Err(fault)) => Next::End(End::Damaged(fault)),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End(self.end()),
        }
    }

    /// Returns how a process has ended.
    fn end(&mut self) -> End {
        let complete = self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or(false);
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        let status = self.child.wait();
        if status.as_ref().is_ok_and(|status| status.signal().is_some()) {
            return End::Killed;
        }
        if status.is_ok_and(|status| status.success()) && complete && errors.is_empty() {
            return End::Complete;
        }
        if errors.iter().any(|line| line.contains(NO_VIDEO)) {
            return End::Damaged("it has no pictures".to_owned());
        }
        let last = errors.into_iter().next_back();
        End::Damaged(last.unwrap_or_else(|| "the video ends early".to_owned()))
    }
}

impl Drop for DecoderProcess {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader may wait for room.
        let (_, none) = bounded(0);
        self.pictures = none;
        // A panic of a thread has been reported where it happened.
        let _ = self.reader.take().map(JoinHandle::join);
        let _ = self.errors.take().map(JoinHandle::join);
    }
}

/// Decodes the output, and returns whether it was complete.
fn read_pictures(
    mut stdout: ChildStdout,
    may_be_empty: bool,
    to: &Sender<Result<Decoded, String>>,
) -> bool {
    let mut decoder = NutDecoder::new(MAX_PICTURE_BYTES);
    let (mut bytes, mut header, mut has_pictures) = (vec![0; READ_BYTES], None, false);
    loop {
        let n = match stdout.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        let mut rest = &bytes[..n];
        while !rest.is_empty() {
            let progress = match decoder.decode(rest) {
                Ok(progress) => progress,
                Err(fault) => {
                    // Nobody waits for it if the source is gone.
                    let _ = to.send(Err(fault.to_string()));
                    return false;
                }
            };
            rest = rest.get(progress.n_used..).unwrap_or_default();
            match (progress.event, header) {
                (Some(Event::Header(of_stream)), _) => header = Some(of_stream),
                (Some(Event::Frame(frame)), Some(header)) => {
                    has_pictures = true;
                    let sent = to.send(Ok(Decoded { header, frame }));
                    if sent.is_err() {
                        return false;
                    }
                }
                _ => {}
            }
        }
    }
    let is_whole = decoder.finish().is_ok() && decoder.has_index();
    is_whole || (may_be_empty && !has_pictures)
}

/// Returns the last lines of errors.
fn read_errors(stderr: ChildStderr) -> Vec<String> {
    let (mut stderr, mut lines) = (BufReader::new(stderr), Vec::new());
    loop {
        let mut line = Vec::new();
        let read = stderr.by_ref().take(MAX_ERROR_LINE_BYTES).read_until(b'\n', &mut line);
        if !read.is_ok_and(|n| n > 0) {
            return lines;
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            lines.push(line);
        }
        if lines.len() > MAX_ERROR_LINES {
            lines.remove(0);
        }
    }
}
