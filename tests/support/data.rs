//! A folder of real captures and reference results, which is not part of the project.

use std::path::{Path, PathBuf};

/// The folder.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("FRESNEL_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

/// True if it is there.
pub(crate) fn there() -> bool {
    folder().join("csi-truth/truth.json").exists()
}

/// A file of it.
pub(crate) fn file(path: &str) -> PathBuf {
    folder().join(path)
}
