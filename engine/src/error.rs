//! Why a run failed.

use operators::OperatorError;
use sinks::SinkError;
use sources::SourceError;

/// A failure of a run. What was committed before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A source could not be opened, or stopped.
    #[error("source {name:?} failed")]
    Source {
        /// The source's name.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// An operator could not be prepared.
    #[error("operator {name:?} failed")]
    Operator {
        /// The operator's name.
        name: String,
        /// Why.
        source: OperatorError,
    },
    /// A sink could not be opened, or did not take records after several tries.
    #[error("sink {name:?} failed")]
    Sink {
        /// The sink's name.
        name: String,
        /// Why.
        source: SinkError,
    },
    /// The workers could not be started, or one of them panicked.
    #[error("workers failed: {reason}")]
    Workers {
        /// What is known of it.
        reason: String,
    },
}
