//! Files that another process still writes to. Added bytes are read as they arrive, and their time is the
//! time of reading.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::framing::framer::Framer;
use crate::framing::network;
use crate::journal::{Backlog, Origin, Writer};
use crate::transports::fingerprint::Fingerprint;
use crate::transports::followed::Followed;
use crate::transports::push::PushTransport;
use crate::{Decoder, SourceError};

/// The interval of checks for added bytes: not every file system reports them.
const PATIENCE: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 64 * 1024;

/// A growing file.
pub(super) struct Follow {
    path: PathBuf,
    file: File,
    /// Number of bytes that were read.
    n_read: u64,
    /// The offset up to which an earlier run has read.
    taken: u64,
    /// The journal's record of the file; none before its first bytes are read.
    followed: Option<Followed>,
    /// The file that replaced this one, or the same file if it was truncated.
    next: Option<File>,
    framer: Framer,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
}

impl Follow {
    /// Opens the file of `path` at the end of its last record in the journal, or at its beginning.
    pub(super) fn open(
        path: PathBuf,
        journal: &Writer,
        decoder: Box<dyn Decoder>,
    ) -> Result<Self, SourceError> {
        let kept = Followed::load(journal.folder()).map_err(|source| journal.failed(source))?;
        let open = || {
            let mut file = File::open(&path)?;
            let taken = taken(&file, kept, journal)?;
            // The beginning of a network capture determines how the rest is read.
            let from = if is_capture(&mut file)? { 0 } else { taken };
            let n_read = file.seek(SeekFrom::Start(from))?;
            Ok((file, n_read, taken))
        };
        let (file, n_read, taken) = match open() {
            Ok(opened) => opened,
            Err(source) => return Err(SourceError::Read { path, source }),
        };
        let followed = kept.filter(|_| taken > 0);
        if taken == 0 && kept.is_some_and(|kept| kept.from < journal.end()) {
            tracing::warn!(
                path = %path.display(),
                "the file was replaced while nothing followed it: it is read from its beginning, and the end of the \
                 file before may be lost"
            );
        }
        let (framer, buffer) = (Framer::default(), vec![0; READ_BYTES]);
        Ok(Self { path, file, n_read, taken, followed, next: None, framer, decoder, buffer })
    }

    /// Records in the journal's folder which file this is, before the journal receives its first bytes.
    /// Records it again as the file grows, until the fingerprint is complete.
    fn keep(&mut self, journal: &mut Writer) -> io::Result<()> {
        if self.followed.is_some_and(|followed| followed.file.is_full()) {
            return Ok(());
        }
        let from = self.followed.map_or(journal.end(), |followed| followed.from);
        let followed = Followed { file: Fingerprint::of(&self.file)?, from };
        if self.followed != Some(followed) {
            // The records of the previous file become durable first, since that file is not read again.
            journal.sync()?;
            followed.keep(journal.folder())?;
            self.followed = Some(followed);
        }
        Ok(())
    }

    fn read(&mut self, journal: &mut Writer) -> io::Result<Backlog> {
        let n_bytes = self.file.read(&mut self.buffer)?;
        if n_bytes == 0 {
            if let Some(next) = self.next.take() {
                self.begin(next, journal);
                return Ok(Backlog::More);
            }
            thread::sleep(PATIENCE);
            // Bytes that were added to this file before the replacement are read first.
            self.next = self.replacement()?;
            return Ok(if self.next.is_some() { Backlog::More } else { Backlog::Empty });
        }
        self.n_read += n_bytes as u64;
        let (n_read, taken) = (self.n_read, self.taken);
        self.framer.take(&*self.decoder, &self.buffer[..n_bytes], |piece| {
            let (sender, mark) = (piece.sender, n_read - piece.behind);
            if mark > taken {
                journal.append(Origin { sender, mark }, piece.bytes);
            }
        });
        Ok(Backlog::More)
    }

    /// Returns the file at the path, if it is another one by now, or the same file was truncated.
    fn replacement(&self) -> io::Result<Option<File>> {
        let ours = self.file.metadata()?;
        let file = match File::open(&self.path) {
            // The old file may be removed before the new one exists.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let theirs = file.metadata()?;
        let is_same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        let is_replaced = !is_same || theirs.len() < self.n_read;
        Ok(is_replaced.then_some(file))
    }

    /// Ends the current file, and reads another one from its beginning.
    fn begin(&mut self, file: File, journal: &mut Writer) {
        self.framer.end(&*self.decoder, |piece| {
            journal.append(Origin { sender: piece.sender, mark: 0 }, piece.bytes);
        });
        (self.file, self.n_read, self.taken, self.framer) = (file, 0, 0, Framer::default());
        self.followed = None;
    }
}

/// Returns the offset up to which a journal contains the records of a file.
fn taken(file: &File, kept: Option<Followed>, journal: &Writer) -> io::Result<u64> {
    let Some(kept) = kept else { return Ok(0) };
    let taken = journal.last_mark().filter(|_| kept.from < journal.end()).unwrap_or_default();
    // A shorter file was truncated.
    let is_same = kept.file.is_of(file)? && file.metadata()?.len() >= taken;
    Ok(if is_same { taken } else { 0 })
}

/// True if a file begins like a network capture.
fn is_capture(file: &mut File) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(network::MAGIC_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(network::begins(&bytes).is_some())
}

impl PushTransport for Follow {
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        self.keep(journal).map_err(|source| journal.failed(source))?;
        let read = self.read(journal);
        read.map_err(|source| SourceError::Read { path: self.path.clone(), source })
    }
}
