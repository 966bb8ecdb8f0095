//! Why a question has no answer.

use std::time::Duration;

use datafusion::error::DataFusionError;

/// A failure of a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The question is not allowed.
    #[error("{0}")]
    Refused(String),
    /// The question makes no sense, or could not be answered.
    #[error("{}", reason(.0))]
    Failed(Box<DataFusionError>),
    /// The answer took too long.
    #[error("the query took longer than {0:?}")]
    TimedOut(Duration),
    /// The answer is too long.
    #[error("the answer has more than {0} rows; add a LIMIT or aggregate")]
    TooLong(usize),
    /// The answer does not fit the format.
    #[error("cannot write the answer as {format}: {reason}")]
    Format {
        /// The format's name.
        format: &'static str,
        /// The conflict.
        reason: String,
    },
    /// The thread that answered is gone.
    #[error("the query was interrupted")]
    Interrupted,
}

/// The message without DataFusion's prefixes and backtraces.
fn reason(error: &DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or_default().to_owned()
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(Box::new(error))
    }
}
