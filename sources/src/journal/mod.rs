//! The journal: a log on disk for messages of a transport that cannot send them again. It stores them until
//! they are not needed any more.
//!
//! An entry is a message with its number, its arrival time, which never goes back, and its origin. Entries
//! are appended to segments, which are files named by the offset at which they begin. The writer only
//! writes. The reader makes entries durable before it reads them. A journal that is too large loses its
//! oldest segment, and the reader reports the number of lost entries.

mod header;
mod lock;
mod reader;
mod segment;
mod synced_file;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::journal::segment::{scan, segment_path, segments};
use crate::journal::synced_file::SyncedFile;

pub(crate) use crate::journal::header::Origin;
pub(crate) use crate::journal::reader::{Entry, Reader};
pub(crate) use crate::journal::segment::read_at;
pub(crate) use crate::journal::writer::Writer;

const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Maximum size in bytes: minutes of a building full of devices.
const JOURNAL_BYTES: u64 = 1024 * 1024 * 1024;
/// Longest message, in bytes. A larger length is damage.
pub(crate) const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Opens the journal in a folder, and creates the folder if needed. An entry that was not written
/// completely when a run was killed is removed. New entries begin at or after `read_up_to`, the offset that
/// readers have reached. If the journal ends before that offset, it was damaged or replaced.
///
/// # Errors
///
/// [`io::ErrorKind::ResourceBusy`] if another process writes to it.
pub(crate) fn open(folder: &Path, read_up_to: u64) -> io::Result<(Writer, Reader)> {
    fs::create_dir_all(folder)?;
    let writer = Writer::open(folder, read_up_to)?;
    let reader = Reader::new(Arc::clone(writer.shared()));
    Ok((writer, reader))
}

/// Opens a journal that no process writes to.
pub(crate) fn open_recording(folder: &Path) -> io::Result<Reader> {
    let segments = segments(folder)?;
    let Some(last) = segments.back().copied() else { return Err(io::ErrorKind::NotFound.into()) };
    let path = segment_path(folder, last);
    let tail = scan(&path)?;
    let file = Arc::new(SyncedFile::new(File::open(&path)?));
    let state = State::new(segments, last + tail.n_bytes, i64::MIN, file);
    Ok(Reader::new(Arc::new(Shared::new(folder, state))))
}

/// State that the writer and the reader share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The first offset of each segment, in order; never empty.
    segments: VecDeque<u64>,
    /// The offset of the next entry.
    end: u64,
    /// Messages beyond the end arrived at this time or later.
    clock_ns: i64,
    /// True while senders are unreachable, or are not read because the journal cannot be written.
    away: bool,
    /// Everything before this offset is in every checkpoint that is kept.
    done: u64,
    /// The last segment.
    file: Arc<SyncedFile>,
}

impl State {
    fn new(segments: VecDeque<u64>, end: u64, clock_ns: i64, file: Arc<SyncedFile>) -> Self {
        Self { segments, end, clock_ns, away: false, done: 0, file }
    }
}

/// The messages that a receiver has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// There may be more messages that have arrived.
    More,
    /// There were no messages.
    Empty,
    /// There were no messages, and the sender is unreachable.
    Unreachable,
}

impl Shared {
    fn new(folder: &Path, state: State) -> Self {
        Self { folder: folder.to_owned(), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
