//! A folder of real captures and reference results, which is not part of the project.

use std::path::{Path, PathBuf};

/// Returns the folder, which `FRESNEL_DATA` can change.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("FRESNEL_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

/// Returns true if the folder contains the reference results.
pub(crate) fn there() -> bool {
    folder().join("csi-truth/truth.json").exists()
}

/// Returns the path of a file in the folder.
pub(crate) fn file(path: &str) -> PathBuf {
    folder().join(path)
}
