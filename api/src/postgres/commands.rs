//! Statements that query nothing: transactions, and settings of a connection. This process answers them.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::error::PgWireResult;
use queries::postgres_setting;

const TIMEOUT: &str = "statement_timeout";

/// A statement that queries nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Begins a transaction; the tag is its confirmation.
    Begin(&'static str),
    /// Ends a transaction.
    End(&'static str),
    /// Sets the time-out of queries; none for that of the server.
    SetTimeout(Option<Duration>),
    /// Sets a time zone, which has no effect.
    SetTimeZone(String),
    /// Shows a setting: its name, and its value unless that is the time-out.
    Show(String, Option<&'static str>),
    /// Forgets a prepared statement.
    Deallocate(String),
    /// Has no effect here.
    Ignored(&'static str),
}

impl Command {
    /// Returns the command; none if the statement is another one.
    pub(super) fn parse(sql: &str) -> Option<Self> {
        let words: Vec<_> = sql.split_whitespace().map(str::to_lowercase).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["begin", ..] => Self::Begin("BEGIN"),
            ["start", "transaction", ..] => Self::Begin("START TRANSACTION"),
            ["commit" | "end", ..] => Self::End("COMMIT"),
            ["rollback", "to", ..] => Self::Ignored("ROLLBACK"),
            ["rollback" | "abort", ..] => Self::End("ROLLBACK"),
            ["set", "session" | "local", setting @ ..] | ["set", setting @ ..] => set(setting),
            ["show", setting @ ..] => return show(&setting.join(" ")),
            // They end with the connection.
            ["deallocate", .., "all"] => Self::Ignored("DEALLOCATE ALL"),
            ["deallocate", .., name] => Self::Deallocate(unquoted(name).to_owned()),
            ["close", "all"] => Self::Ignored("CLOSE CURSOR ALL"),
            ["reset", ..] => Self::Ignored("RESET"),
            ["discard", ..] => Self::Ignored("DISCARD"),
            ["savepoint", ..] => Self::Ignored("SAVEPOINT"),
            ["release", ..] => Self::Ignored("RELEASE"),
            ["unlisten", ..] => Self::Ignored("UNLISTEN"),
            _ => return None,
        })
    }

    /// Returns the column of the answer of a command that shows something.
    pub(super) fn columns(&self, format: FieldFormat) -> Vec<FieldInfo> {
        match self {
            Self::Show(name, _) => {
                vec![FieldInfo::new(name.clone(), None, None, Type::TEXT, format)]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the confirmation of a command.
    pub(super) fn confirmation(
        &self,
        timeout: Option<Duration>,
        format: FieldFormat,
    ) -> PgWireResult<Response> {
        Ok(match self {
            Self::Begin(tag) => Response::TransactionStart(Tag::new(tag)),
            Self::End(tag) => Response::TransactionEnd(Tag::new(tag)),
            Self::SetTimeout(_) | Self::SetTimeZone(_) => Response::Execution(Tag::new("SET")),
            Self::Deallocate(_) => Response::Execution(Tag::new("DEALLOCATE")),
            Self::Ignored(tag) => Response::Execution(Tag::new(tag)),
            Self::Show(_, value) => {
                let timeout = format!("{}ms", timeout.unwrap_or_default().as_millis());
                self.shown(value.unwrap_or(&timeout), format)?
            }
        })
    }

    fn shown(&self, value: &str, format: FieldFormat) -> PgWireResult<Response> {
        let columns = Arc::new(self.columns(format));
        let mut row = DataRowEncoder::new(Arc::clone(&columns));
        row.encode_field(&Some(value))?;
        let row = row.take_row();
        let mut rows = QueryResponse::new(columns, stream::iter([Ok(row)]));
        rows.set_command_tag("SHOW");
        Ok(Response::Query(rows))
    }
}

/// Reads `NAME = VALUE`, `NAME TO VALUE` or `TIME ZONE VALUE`.
fn set(words: &[&str]) -> Command {
    let text = words.join(" ");
    if let Some(zone) = text.strip_prefix("time zone ") {
        return time_zone(zone);
    }
    let (name, value) =
        text.split_once('=').or_else(|| text.split_once(" to ")).unwrap_or_default();
    let value = unquoted(value);
    match name.trim() {
        TIMEOUT => Command::SetTimeout(duration(value)),
        "timezone" => time_zone(value),
        _ => Command::Ignored("SET"),
    }
}

fn time_zone(zone: &str) -> Command {
    match unquoted(zone) {
        "utc" | "etc/utc" | "gmt" | "default" | "local" | "0" => Command::Ignored("SET"),
        zone => Command::SetTimeZone(zone.to_owned()),
    }
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['\'', '"']).trim()
}

/// Parses a time-out: a number of milliseconds, or a number with a unit. Returns none for 0 and for invalid text.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let ms = match text[digits..].trim() {
        "" | "ms" => number,
        "s" => number.saturating_mul(1000),
        "min" => number.saturating_mul(60_000),
        "h" => number.saturating_mul(3_600_000),
        "d" => number.saturating_mul(86_400_000),
        _ => return None,
    };
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// Returns the command that shows a setting; none for others, such as `SHOW TABLES`.
fn show(name: &str) -> Option<Command> {
    if name == TIMEOUT {
        return Some(Command::Show(name.to_owned(), None));
    }
    Some(Command::Show(name.to_owned(), Some(postgres_setting(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_queries() {
        let timeout = |ms| Command::SetTimeout(Some(Duration::from_millis(ms)));
        for (sql, command) in [
            ("BEGIN", Some(Command::Begin("BEGIN"))),
            ("begin read only", Some(Command::Begin("BEGIN"))),
            ("END", Some(Command::End("COMMIT"))),
            ("ROLLBACK TO a", Some(Command::Ignored("ROLLBACK"))),
            ("SET statement_timeout = 500", Some(timeout(500))),
            ("SET SESSION statement_timeout TO '5s'", Some(timeout(5000))),
            ("set statement_timeout to 0", Some(Command::SetTimeout(None))),
            ("SET TIME ZONE 'UTC'", Some(Command::Ignored("SET"))),
            ("SET TimeZone='Europe/Berlin'", Some(Command::SetTimeZone("europe/berlin".into()))),
            ("SET application_name = 'x'", Some(Command::Ignored("SET"))),
            ("SHOW TimeZone", Some(Command::Show("timezone".into(), Some("UTC")))),
            ("SHOW statement_timeout", Some(Command::Show(TIMEOUT.into(), None))),
            ("SHOW TABLES", None),
            ("DEALLOCATE ALL", Some(Command::Ignored("DEALLOCATE ALL"))),
            ("DEALLOCATE \"_a\"", Some(Command::Deallocate("_a".into()))),
            ("SELECT 1", None),
            ("", None),
        ] {
            assert_eq!(Command::parse(sql), command, "{sql}");
        }
    }
}
