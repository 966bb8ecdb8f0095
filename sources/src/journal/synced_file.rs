//! The file of a segment that is appended to and made durable.
//!
//! After a failed sync, a system may treat bytes as written that never reached the disk. The next sync
//! succeeds without them. So a file whose sync failed is written again before the next sync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::journal::segment::read_at;

/// Bytes that are rewritten at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// A file with the outcome of its last sync.
#[derive(Debug)]
pub(super) struct SyncedFile {
    file: File,
    sync_failed: Mutex<bool>,
}

impl SyncedFile {
    /// Opens a file to append to; creates it if needed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self::new(file))
    }

    pub(super) fn new(file: File) -> Self {
        Self { file, sync_failed: Mutex::new(false) }
    }

    /// The file to append to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes the written bytes durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut sync_failed = self.sync_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *sync_failed {
            self.write_again()?;
        }
        let synced = self.file.sync_data();
        *sync_failed = synced.is_err();
        synced
    }

    /// Rewrites all bytes in their places.
    fn write_again(&self) -> io::Result<()> {
        let mut offset = 0;
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            read_at(&self.file, &mut chunk, offset)?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.file.write_all_at(&chunk, offset)?;
            offset += chunk.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_is_written_again_after_a_failed_sync() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("segment");
        let bytes: Vec<u8> = (0..=255).cycle().take(CHUNK_BYTES + 9).collect();
        fs::write(&path, &bytes).expect("room");
        let file = SyncedFile::open(&path).expect("it is there");
        let is_written = || {
            file.file().set_modified(SystemTime::UNIX_EPOCH).expect("it is ours");
            file.sync().expect("a disk");
            let modified_at = file.file().metadata().and_then(|metadata| metadata.modified());
            modified_at.expect("it has a time") > SystemTime::UNIX_EPOCH
        };
        assert!(!is_written());
        *file.sync_failed.lock().expect("nobody panics") = true;
        assert!(is_written());
        assert!(!is_written(), "once");
        assert!(fs::read(&path).expect("it is there") == bytes, "the same bytes");
    }
}
