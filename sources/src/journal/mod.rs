//! The journal: what came over a transport that cannot be asked again, kept on disk until it is not
//! needed any more, so that it can be read again.
//!
//! An entry is a message with its number, the time it came in, which never goes back, and its origin.
//! Entries are appended to segments, files that are named by the offset they begin at. Receiving only
//! writes; reading first makes durable what it is about to read. A journal that has grown too large
//! loses its oldest segment, which whoever reads it is told.

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
/// Bound of what is kept: minutes of a building full of devices.
const JOURNAL_BYTES: u64 = 1024 * 1024 * 1024;
/// No message is longer; a larger length is damage.
pub(crate) const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Opens the journal in a folder, which is made if need be. What was not written as a whole when a
/// run was killed is cut off. New entries go behind `read_up_to`, the offset that readers have come to:
/// a journal that ends before it was damaged or is another one.
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

/// Opens a journal that nobody writes to.
pub(crate) fn open_recording(folder: &Path) -> io::Result<Reader> {
    let segments = segments(folder)?;
    let Some(last) = segments.back().copied() else { return Err(io::ErrorKind::NotFound.into()) };
    let path = segment_path(folder, last);
    let tail = scan(&path)?;
    let file = Arc::new(SyncedFile::new(File::open(&path)?));
    let state = State::new(segments, last + tail.n_bytes, i64::MIN, file);
    Ok(Reader::new(Arc::new(Shared::new(folder, state))))
}

/// Shared by writer and reader.
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
    /// Whatever is beyond the end came in at this time or later.
    clock_ns: i64,
    /// True while whoever sends cannot be reached, or is not listened to because nothing can be written.
    away: bool,
    /// Everything before is in every checkpoint that is kept.
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
    /// There may be more that have come in.
    More,
    /// There were none.
    Empty,
    /// There were none, but whoever sends cannot be reached.
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
