//! One writer at a time: the operating system holds a lock for the process that writes to a journal. It
//! releases the lock when that process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The lock for writing to the journal in a folder; released when dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Acquires the lock of the journal in a folder, without waiting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ResourceBusy`] if another process writes to the journal; the journal is unchanged then.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).open(folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(&mut file)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        write!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

fn busy(file: &mut File) -> io::Error {
    let mut owner = String::new();
    // The owner may not have written its process id yet.
    let _ = file.read_to_string(&mut owner);
    let reason = format!("process {owner} writes to it; stop that process first");
    io::Error::new(ErrorKind::ResourceBusy, reason)
}
