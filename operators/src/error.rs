//! Why an operator cannot be made.

use std::io;
use std::path::PathBuf;

/// A failure to prepare an operator; once it runs, there are only dropped records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// A model's file could not be read.
    #[error("could not read model {path:?}")]
    Read {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A model's file could not be written.
    #[error("could not write model {path:?}")]
    Write {
        /// The path as given.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file is no model of this program.
    #[error("cannot use model {path:?}: {reason}")]
    Model {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}
