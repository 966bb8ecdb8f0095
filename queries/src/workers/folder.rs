//! The folder with the temporary files of a query process.
//!
//! A process that is killed leaves its files, and so does a server that is killed together with it. The lock of a
//! folder ends with the server, so that the next server finds the folders that nobody uses.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "fresnel-sql-";
/// Other users can neither read nor lock a folder.
const MODE: u32 = 0o700;

/// A folder that is removed when it is dropped, or else by [`remove_abandoned`].
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    /// Where the file system has no locks, nothing removes abandoned folders.
    _lock: File,
}

impl Folder {
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        loop {
            let mut new = tempfile::Builder::new();
            let new = new.prefix(PREFIX).permissions(Permissions::from_mode(MODE));
            let folder = new.tempdir_in(parent)?;
            // A server that starts may take the new folder for an abandoned one.
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
            if !is_taken && folder.path().exists() {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of servers that have ended.
///
/// # Errors
///
/// Returns the last error if some of them cannot be removed.
pub(super) fn remove_abandoned(parent: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(parent)?.flatten() {
        let is_folder = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_folder || !is_ours {
            continue;
        }
        // The folders of other users cannot be opened.
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            // Another server was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => result = Err(error),
            Ok(()) => {}
        }
        drop(lock);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_servers_that_have_ended_are_removed() {
        let parent = tempfile::tempdir().expect("room");
        let used = Folder::create(parent.path()).expect("room");
        let Folder { folder, _lock: lock } = Folder::create(parent.path()).expect("room");
        let abandoned = folder.keep();
        fs::write(abandoned.join("spilled"), "rows").expect("room");
        let other = parent.path().join("other");
        fs::create_dir(&other).expect("room");
        remove_abandoned(parent.path()).expect("nothing to remove");
        assert!(abandoned.exists(), "its lock is held");
        drop(lock);
        remove_abandoned(parent.path()).expect("it is removed");
        assert!(!abandoned.exists() && used.path().exists() && other.exists());
    }
}
