//! Errors when an operator is prepared.

use std::io;
use std::path::PathBuf;

/// A failure to prepare an operator. A running operator does not fail; it drops records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// A model's file could not be read.
    #[error("could not read model {path:?}")]
    Read {
        /// The path in the pipeline.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A model's file could not be written.
    #[error("could not write model {path:?}")]
    Write {
        /// The given path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The networks of an operator could not be loaded.
    #[error("could not load a network")]
    Network(#[from] vision::ModelError),
    /// A file is not a model of this program.
    #[error("cannot use model {path:?}: {reason}")]
    Model {
        /// The path in the pipeline.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}
