//! Errors of queries, in terms of SQL.

use std::time::Duration;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use strsim::damerau_levenshtein;

/// The largest edit distance of a name that is suggested.
const MAX_DISTANCE: usize = 3;

/// Prefixes of messages that name a phase of planning.
const PHASES: [&str; 3] = ["Error during planning: ", "Internal error: ", "Execution error: "];

/// A failure of a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query is not allowed.
    #[error("{0}")]
    Refused(String),
    /// The query names a table that the history does not have.
    #[error("table `{name}` not found: {}", choices(.name, .tables))]
    NoSuchTable {
        /// The table.
        name: String,
        /// The tables of the history.
        tables: Vec<String>,
    },
    /// The query is invalid, or its execution failed.
    #[error("{}", reason(.0))]
    Failed(Box<DataFusionError>),
    /// The query took longer than its time-out.
    #[error("the query took longer than {0:?}")]
    TimedOut(Duration),
    /// The answer has more rows than allowed.
    #[error("the answer has more than {0} rows; add a LIMIT or aggregate")]
    TooLong(usize),
    /// The format cannot represent the answer.
    #[error("cannot write the answer as {format}: {reason}")]
    Format {
        /// The format's name.
        format: &'static str,
        /// The cause.
        reason: String,
    },
    /// The thread of the query has ended.
    #[error("the query was interrupted")]
    Interrupted,
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Returns the cause of an error, without the names of Rust types and of planning phases.
fn reason(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::SQL(error, _) => format!("syntax error: {}", syntax_error(error)),
        DataFusionError::SchemaError(error, _) => schema_error(error),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| error.message().into_owned(), reason)
        }
        error => plain(&error.message()),
    }
}

/// Returns the first line; the other lines contain backtraces and internal plans.
/// The message without the names of planning phases, the tried signatures of a function, and a backtrace.
fn plain(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(", errors: ").next().unwrap_or(line);
    PHASES.iter().fold(line.to_owned(), |line, phase| line.replace(phase, ""))
}

fn syntax_error(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => "too deeply nested".to_owned(),
    }
}

fn schema_error(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let columns: Vec<_> = valid_fields.iter().map(|field| field.name.clone()).collect();
            format!("column `{}` not found: {}", field.name, choices(&field.name, &columns))
        }
        SchemaError::AmbiguousReference { field } => {
            format!(
                "column `{}` is ambiguous: name its table, as in `table.{}`",
                field.name, field.name
            )
        }
        error => error.to_string(),
    }
}

/// Suggests the most similar of several names, and lists all names.
fn choices(name: &str, names: &[String]) -> String {
    let name = name.to_lowercase();
    let distances =
        names.iter().map(|known| (damerau_levenshtein(&name, &known.to_lowercase()), known));
    let all = format!("expected one of {}", names.join(", "));
    match distances.min() {
        Some((distance, nearest)) if distance <= MAX_DISTANCE => {
            format!("did you mean `{nearest}`? {all}")
        }
        _ => all,
    }
}
