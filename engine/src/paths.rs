//! Normalised paths for comparison: absolute, without `.` and `..`, independent of the files on disk.

use std::path::{Component, Path, PathBuf};

/// Normalises a path of a pipeline that is relative to `directory`. Does not follow links.
pub(crate) fn normalized(directory: &Path, path: &Path) -> PathBuf {
    let joined = directory.join(path);
    let absolute = std::path::absolute(&joined).unwrap_or(joined);
    let mut normalized = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // The root has no parent; there this does nothing.
                normalized.pop();
            }
            other => normalized.push(other),
        }
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_path() {
        for (path, expected) in [
            ("out.jsonl", "/flat/out.jsonl"),
            ("./out.jsonl", "/flat/out.jsonl"),
            ("a//./b/../out", "/flat/a/out"),
            ("history/", "/flat/history"),
            ("../out", "/out"),
            ("../../../out", "/out"),
            ("/tmp/out", "/tmp/out"),
            ("", "/flat"),
        ] {
            let found = normalized(Path::new("/flat"), Path::new(path));
            assert_eq!(found, Path::new(expected), "{path}");
        }
    }
}
