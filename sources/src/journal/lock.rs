//! One writer at a time: the operating system holds a lock for the process that writes to a journal, and
//! lets go of it when that process is gone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The right to write to the journal in a folder, as long as it is there.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ResourceBusy`] if another process writes to the journal; nothing has changed then.
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
    // Who has the lock may not have written its number yet.
    let _ = file.read_to_string(&mut owner);
    let reason = format!("process {owner} writes to it; stop that process first");
    io::Error::new(ErrorKind::ResourceBusy, reason)
}
