//! Finds histories: folders of tables.

use std::fs;
use std::path::{Path, PathBuf};

use storage::log_of;

/// Levels below a folder that are searched.
const DEPTH: usize = 3;

/// Returns true if the folder contains a Delta table.
pub fn is_history(folder: &Path) -> bool {
    folders(folder).any(|table| log_of(&table).is_dir())
}

/// Returns the histories in a folder and in its subfolders, at most three levels deep.
pub fn find_histories(folder: &Path) -> Vec<PathBuf> {
    let mut histories = Vec::new();
    search(folder, DEPTH, &mut histories);
    histories
}

fn search(folder: &Path, depth: usize, histories: &mut Vec<PathBuf>) {
    if is_history(folder) {
        histories.push(folder.to_owned());
    } else if depth > 0 {
        folders(folder).for_each(|below| search(&below, depth - 1, histories));
    }
}

fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_found_below_a_folder() {
        let folder = tempfile::tempdir().expect("room");
        let path = |name| folder.path().join(name);
        fs::create_dir_all(path("demo/history/poses/_delta_log")).expect("room");
        fs::create_dir_all(path("a/b/c/d/too_deep/_delta_log")).expect("room");
        fs::create_dir_all(path("empty")).expect("room");
        assert_eq!(find_histories(folder.path()), [path("demo/history")]);
        assert!(is_history(&path("demo/history")) && !is_history(&path("empty")));
        assert!(!is_history(&path("nowhere")));
    }
}
