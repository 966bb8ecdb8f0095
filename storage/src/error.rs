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
    #[error("could not use {url}: {}", advice(&**.source))]
    Bucket {
        /// The URL.
        url: String,
        /// The error of the object store.
        source: Box<object_store::Error>,
    },
    /// A variable of the environment has a value that makes no sense.
    #[error("{name} is {value:?}: expected a URL, such as http://127.0.0.1:9000")]
    Address {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

/// How errors of stores begin that do not answer, or cannot.
const GENERIC: [&str; 2] = ["Generic S3 error", "Generic GCS error"];
/// What an object store says, and what to do about it.
const ADVICE: [(&str, &str); 5] = [
    ("scheme is not allowed", "AWS_ALLOW_HTTP=true allows an address with http"),
    ("NoSuchBucket", "there is no such bucket"),
    ("SignatureDoesNotMatch", "the store refuses AWS_SECRET_ACCESS_KEY"),
    ("InvalidAccessKeyId", "the store does not know AWS_ACCESS_KEY_ID"),
    (
        "169.254.169.254",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: this machine has no role",
    ),
];
const DEFAULT_ADVICE: &str = "its address and the credentials are those of the environment";

/// Returns what to do about an error.
fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let text = error.to_string();
    let known = ADVICE.iter().find(|(words, _)| text.contains(words));
    match (known, error.source()) {
        (Some((_, advice)), _) => advice,
        (None, Some(cause)) => advice(cause),
        (None, None) => DEFAULT_ADVICE,
    }
}

/// True if an object store does not answer, or answers that it cannot. It may be able to later.
pub fn is_outage(error: &(dyn Error + 'static)) -> bool {
    let is_store = |error: &object_store::Error| {
        matches!(error, object_store::Error::Generic { store: "S3" | "GCS", .. })
    };
    // Some libraries pass on what a store says, but not its error.
    let is_said = || GENERIC.iter().any(|words| error.to_string().contains(words));
    error.downcast_ref().is_some_and(is_store) || is_said() || error.source().is_some_and(is_outage)
}
