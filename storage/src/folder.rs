//! Folders of tables on this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deltalake::{DeltaTableBuilder, DeltaTableError, ensure_table_uri};

use crate::durable_store::DurableStore;

/// Creates a folder if it is missing, and checks that it can be written. Returns its absolute path.
pub(crate) fn create(folder: &Path) -> io::Result<PathBuf> {
    make(folder)?;
    let folder = folder.canonicalize()?;
    // Detects a read-only folder now, not at the first commit.
    let probe = folder.join(format!(".fresnel-{}", std::process::id()));
    fs::write(&probe, [])?;
    fs::remove_file(&probe)?;
    Ok(folder)
}

/// Returns a table in a folder, whose files survive a power cut.
pub(crate) fn table(folder: &Path) -> Result<DeltaTableBuilder, DeltaTableError> {
    let url = ensure_table_uri(folder.to_string_lossy())?;
    let table = DeltaTableBuilder::from_url(url.clone())?;
    Ok(table.with_storage_backend(Arc::new(DurableStore::default()), url))
}

/// Creates a folder, and its parents.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_parent(folder)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(folder),
    }
}

/// Creates the folder of a file, and its parents.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), make)
}

/// Makes new names in the folder of `path` durable.
///
/// # Errors
///
/// An error if the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
