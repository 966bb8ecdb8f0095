//! Errors of queries, in terms of SQL.

use std::error::Error;
use std::io;
use std::time::Duration;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use serde::{Deserialize, Serialize};
use strsim::damerau_levenshtein;

use crate::Format;
use crate::session::{MEMORY_BYTES, SPILLED_BYTES};

/// Longest text of a failure.
const MAX_CHARACTERS: usize = 1000;
/// The largest edit distance of a name that is suggested.
const MAX_DISTANCE: usize = 3;

/// Prefixes of messages that name a phase of planning.
const PHASES: [&str; 3] = ["Error during planning: ", "Internal error: ", "Execution error: "];
/// How the engine says that temporary files are as large as allowed.
const FULL_FILES: &str = "The used disk space during the spilling process has exceeded";
/// Words of the engine, and what they mean to somebody who writes SQL.
const WORDS: [(&str, &str); 6] = [
    (
        "SHOW [VARIABLE] is not supported unless information_schema is enabled",
        "settings are not shown",
    ),
    (
        "SHOW FUNCTIONS is not supported unless information_schema is enabled",
        "functions are not shown",
    ),
    (
        "Failed to parse placeholder id: cannot parse integer from empty string",
        "expected a number or a name of a parameter, as in $1 or $name",
    ),
    ("The context currently only supports a single SQL statement", "expected one statement"),
    ("Cannot coerce arithmetic expression ", "cannot calculate "),
    (" to valid types", ""),
];

/// A failure of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
    /// The text is not SQL.
    #[error("syntax error: {0}")]
    Syntax(String),
    /// The query names a column that its tables do not have.
    #[error("{0}")]
    NoSuchColumn(String),
    /// The query is invalid in another way, or its execution failed.
    #[error("{0}")]
    Failed(String),
    /// The query took longer than its time-out.
    #[error("the query took longer than {0:?}: select a shorter time, or fewer rows and columns")]
    TimedOut(Duration),
    /// The answer has more rows than allowed.
    #[error("the answer has more than {0} rows; add a LIMIT or aggregate")]
    TooManyRows(usize),
    /// The answer has more bytes than allowed.
    #[error("the answer has more than {} MiB; select fewer columns, add a LIMIT or aggregate", .0 >> 20)]
    TooManyBytes(u64),
    /// The format cannot represent the answer.
    #[error("cannot write the answer as {}: {reason}", .format.as_str())]
    Format {
        /// The format.
        format: Format,
        /// The cause.
        reason: String,
    },
    /// The process of the query has died of it.
    #[error("the query needs more than {} MiB of memory, or is nested too deeply", .0 >> 20)]
    Exhausted(u64),
    /// The operators of the query need more memory or larger temporary files than they may have.
    #[error(
        "sorting, grouping or joining needs more than {} MiB of memory or {} MiB of temporary files; select \
         fewer rows or columns",
        MEMORY_BYTES >> 20,
        SPILLED_BYTES >> 20
    )]
    TooMuch,
    /// Somebody cancelled the query.
    #[error("the query was cancelled")]
    Cancelled,
    /// Too many queries run or wait.
    #[error(
        "too many queries at once: a client may have 2 that run and 4 that wait, and all clients 8 and 16; wait for the end of one, or cancel one"
    )]
    Busy,
    /// Another query that runs has the id.
    #[error("a query with the id `{0}` is running")]
    IdTaken(String),
    /// The answer or a temporary file could not be stored.
    #[error("the disk of temporary files has no room for the query")]
    NoRoom,
    /// No process for queries could be started, or it does not follow the protocol.
    #[error("no process answers queries: {0}")]
    NoWorker(String),
}

impl QueryError {
    pub(crate) fn syntax(error: &ParserError) -> Self {
        Self::Syntax(syntax_error(error))
    }

    /// Cuts long texts, such as values that the query made.
    #[must_use]
    pub(crate) fn shortened(self) -> Self {
        match self {
            Self::Refused(reason) => Self::Refused(short(reason)),
            Self::Syntax(reason) => Self::Syntax(short(reason)),
            Self::NoSuchColumn(reason) => Self::NoSuchColumn(short(reason)),
            Self::Failed(reason) => Self::Failed(short(reason)),
            Self::NoSuchTable { name, tables } => Self::NoSuchTable { name: short(name), tables },
            Self::Format { format, reason } => Self::Format { format, reason: short(reason) },
            other => other,
        }
    }
}

fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        limit_of(&error).unwrap_or_else(|| failure(&error))
    }
}

/// Returns the error of a query if the failure, or a cause of it, is a limit of resources.
fn limit_of(failure: &(dyn Error + 'static)) -> Option<QueryError> {
    if let Some(DataFusionError::ResourcesExhausted(_)) = failure.downcast_ref() {
        return Some(QueryError::TooMuch);
    }
    let io_error = failure.downcast_ref::<io::Error>();
    if io_error.is_some_and(|error| error.to_string().starts_with(FULL_FILES)) {
        return Some(QueryError::TooMuch);
    }
    if io_error.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
        return Some(QueryError::NoRoom);
    }
    let wrapped = io_error.and_then(|error| limit_of(error.get_ref()?));
    wrapped.or_else(|| limit_of(failure.source()?))
}

/// Returns the cause of an error, without the names of Rust types and of planning phases.
fn failure(error: &DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::SQL(error, _) => QueryError::syntax(error),
        DataFusionError::SchemaError(error, _) => schema_error(error),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| QueryError::Failed(error.message().into_owned()), failure)
        }
        error => QueryError::Failed(plain(&error.message())),
    }
}

/// Returns the first line without the names of planning phases and the tried signatures of a function; the
/// other lines contain backtraces and internal plans.
fn plain(message: &str) -> String {
    if let Some(message) = of_function(message) {
        return message;
    }
    if message.contains("must appear in the GROUP BY")
        && let Some(column) = between(message, "column \"", "\"")
    {
        return format!("column `{column}` must be in GROUP BY or in an aggregate function");
    }
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(", errors: ").next().unwrap_or(line);
    if line.contains("Cannot access field at argument") {
        return "a list has no fields: unnest() makes rows of it".to_owned();
    }
    let line = PHASES.iter().fold(line.to_owned(), |line, phase| line.replace(phase, ""));
    WORDS.iter().fold(line, |line, (word, plain)| line.replace(word, plain))
}

/// The message of a call that cannot be made, without the signatures of the function.
fn of_function(message: &str) -> Option<String> {
    if let Some(function) = between(message, "Invalid function '", "'") {
        let nearest = between(message, "Did you mean '", "'");
        let nearest = nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default();
        return Some(format!("function `{function}` not found{nearest}"));
    }
    let function = between(message, "Failed to coerce arguments to satisfy a call to '", "'")
        .or_else(|| between(message, "Function '", "' failed to match any signature"))?;
    let example = match function {
        "date_bin" => {
            ", expected an interval and a time, as in (INTERVAL '5 minutes', captured_at)"
        }
        _ => "",
    };
    Some(format!("function `{function}` does not accept arguments of these types{example}"))
}

/// Returns the text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}

fn syntax_error(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            message.replace("found: EOF", "found: the end of the query")
        }
        ParserError::RecursionLimitExceeded => "too deeply nested".to_owned(),
    }
}

fn schema_error(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let columns: Vec<_> = valid_fields.iter().map(|field| field.name.clone()).collect();
            let choices = choices(&field.name, &columns);
            QueryError::NoSuchColumn(format!(
                "column `{}` not found: {choices} (text is in 'single quotes')",
                field.name
            ))
        }
        SchemaError::AmbiguousReference { field } => QueryError::Failed(format!(
            "column `{}` is ambiguous: name its table, as in `table.{}`",
            field.name, field.name
        )),
        error => QueryError::Failed(error.to_string()),
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
