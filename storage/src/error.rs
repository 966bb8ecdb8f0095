//! Errors of storage.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// A failure of the place of a history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A folder or a file in it cannot be read or written.
    #[error("could not use \"{}\"", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A bucket cannot be read or written.
    #[error("could not use {url}: its address and the credentials are those of the environment")]
    Bucket {
        /// The URL.
        url: String,
        /// The error of the object store.
        source: Box<object_store::Error>,
    },
}

/// True if an object store does not answer, or answers that it cannot. It may be able to later.
pub fn is_outage(error: &(dyn Error + 'static)) -> bool {
    let is_store = |error: &object_store::Error| {
        matches!(error, object_store::Error::Generic { store: "S3" | "GCS", .. })
    };
    let is_here = error.downcast_ref().is_some_and(is_store);
    is_here || error.source().is_some_and(is_outage)
}
