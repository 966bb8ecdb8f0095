//! Files that something else still writes to: what is added is read as it comes, and its time is the time that
//! it was read.

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

/// A file that grows.
pub(super) struct Follow {
    path: PathBuf,
    file: File,
    /// Bytes that were read.
    n_read: u64,
    /// An earlier run has read everything up to here.
    taken: u64,
    /// The journal's record of the file; none before its first bytes are read.
    followed: Option<Followed>,
    /// What has taken its place, or itself if it was begun again.
    next: Option<File>,
    framer: Framer,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
}

impl Follow {
    /// Reads the file of `path` from the end of the last record that the journal has of it, or from its
    /// beginning.
    pub(super) fn open(
        path: PathBuf,
        journal: &Writer,
        decoder: Box<dyn Decoder>,
    ) -> Result<Self, SourceError> {
        let kept = Followed::load(journal.folder()).map_err(|source| journal.failed(source))?;
        let open = || {
            let mut file = File::open(&path)?;
            let taken = taken(&file, kept, journal)?;
            // The beginning of a capture of a network tells how to read the rest.
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

    /// Tells the journal which file it is, before it gets the first of it; and again when the file has grown,
    /// until it cannot be taken for another one.
    fn keep(&mut self, journal: &mut Writer) -> io::Result<()> {
        if self.followed.is_some_and(|followed| followed.file.is_full()) {
            return Ok(());
        }
        let from = self.followed.map_or(journal.end(), |followed| followed.from);
        let followed = Followed { file: Fingerprint::of(&self.file)?, from };
        if self.followed != Some(followed) {
            // What comes of the file before this one is durable first: nobody reads it again.
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
            // What was added to this one before the other came is read first.
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

    /// The file that the path has, if it is another one by now, or the same one begun again.
    fn replacement(&self) -> io::Result<Option<File>> {
        let ours = self.file.metadata()?;
        let file = match File::open(&self.path) {
            // One may be gone before the next one comes.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let theirs = file.metadata()?;
        let is_same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        let is_replaced = !is_same || theirs.len() < self.n_read;
        Ok(is_replaced.then_some(file))
    }

    /// Reads another file from its beginning; of this one nothing more comes.
    fn begin(&mut self, file: File, journal: &mut Writer) {
        self.framer.end(&*self.decoder, |piece| {
            journal.append(Origin { sender: piece.sender, mark: 0 }, piece.bytes);
        });
        (self.file, self.n_read, self.taken, self.framer) = (file, 0, 0, Framer::default());
        self.followed = None;
    }
}

/// Up to where a journal has the records of a file.
fn taken(file: &File, kept: Option<Followed>, journal: &Writer) -> io::Result<u64> {
    let Some(kept) = kept else { return Ok(0) };
    let taken = journal.last_mark().filter(|_| kept.from < journal.end()).unwrap_or_default();
    // A shorter one was begun again.
    let is_same = kept.file.is_of(file)? && file.metadata()?.len() >= taken;
    Ok(if is_same { taken } else { 0 })
}

/// True if a file begins as a capture of a network does.
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
