//! The layout of a history: a folder with a folder for each table, in the format of Delta Lake.
//!
//! Source: Delta Lake transaction protocol, "File Types".

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Returns the folder of a table's log of commits.
pub fn log_of(table: &Path) -> PathBuf {
    table.join("_delta_log")
}

/// Returns true if the folder is a table.
pub fn is_table(folder: &Path) -> bool {
    log_of(folder).is_dir()
}

/// Returns the names of the tables in a folder, in alphabetical order.
///
/// # Errors
///
/// [`io::Error`] if the folder cannot be read.
pub fn tables_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_table(&entry.path()) {
            tables.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    tables.sort();
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_folders_with_a_log() {
        let folder = tempfile::tempdir().expect("room");
        for name in ["poses", "events"] {
            fs::create_dir_all(log_of(&folder.path().join(name))).expect("room");
        }
        fs::create_dir(folder.path().join("photos")).expect("room");
        fs::write(folder.path().join("notes"), "none").expect("room");
        assert_eq!(tables_in(folder.path()).expect("it is there"), ["events", "poses"]);
        assert!(tables_in(&folder.path().join("nowhere")).is_err());
    }
}
