//! What clients of `PostgreSQL` expect: its dialect of SQL, and the catalog that lists tables and columns.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray as _, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use crate::QueryError;

/// The schema of the catalog.
const CATALOG: &str = "pg_catalog";

/// The settings that clients ask a server for.
const SETTINGS: [(&str, &str); 16] = [
    ("server_version", "16.6"),
    ("server_version_num", "160006"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("timezone", TIME_ZONE),
    ("time zone", TIME_ZONE),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("search_path", "public"),
    ("transaction_isolation", "read committed"),
    ("transaction isolation level", "read committed"),
    ("transaction_read_only", "on"),
    ("default_transaction_read_only", "on"),
    ("max_identifier_length", "63"),
];
const TIME_ZONE: &str = "UTC";
const VERSION: &str = "PostgreSQL 16.6 (Fresnel)";

/// Returns the value of a setting of a `PostgreSQL` server; none if this one has no such setting.
pub fn postgres_setting(name: &str) -> Option<&'static str> {
    let is_it = |(known, _): &&(&str, _)| known.eq_ignore_ascii_case(name);
    SETTINGS.iter().find(is_it).map(|(_, value)| *value)
}

/// Returns functions that clients call when they connect, or before they pass a connection on.
fn functions() -> [ScalarUDF; 5] {
    let text = || DataType::Utf8;
    let stable = Volatility::Stable;
    let version = |_: &[ColumnarValue]| Ok(ScalarValue::from(VERSION).into());
    let nothing = |_: &[ColumnarValue]| Ok(ScalarValue::Boolean(None).into());
    let no_text = |_: &[ColumnarValue]| Ok(ScalarValue::Utf8(None).into());
    [
        create_udf("current_setting", vec![text()], text(), stable, Arc::new(values_of)),
        // Settings that a client sets have no effect.
        create_udf(
            "set_config",
            vec![text(), text(), DataType::Boolean],
            text(),
            stable,
            Arc::new(|arguments: &[ColumnarValue]| Ok(arguments[1].clone())),
        ),
        create_udf("version", Vec::new(), text(), stable, Arc::new(version)),
        create_udf(
            "pg_advisory_unlock_all",
            Vec::new(),
            DataType::Boolean,
            stable,
            Arc::new(nothing),
        ),
        create_udf(
            "obj_description",
            vec![DataType::Int64, text()],
            text(),
            stable,
            Arc::new(no_text),
        ),
    ]
}

fn values_of(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let names = ColumnarValue::values_to_arrays(arguments)?;
    let names: &StringArray = names[0].as_string();
    let values: StringArray = names.iter().map(|name| postgres_setting(name?)).collect();
    Ok(ColumnarValue::Array(Arc::new(values)))
}

/// Also replaces what `PostgreSQL` has and the engine has not, such as operators of the catalog.
static PARSER: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

/// Adds the schema `pg_catalog`, with its functions.
pub(crate) fn add_catalog(context: &SessionContext, catalog: &str) -> Result<(), QueryError> {
    let added = setup_pg_catalog(context, catalog, EmptyContextProvider);
    added.map_err(|error| QueryError::from(*error))?;
    for function in functions() {
        context.register_udf(function);
    }
    Ok(())
}

/// Removes the schema `pg_catalog`.
pub(crate) fn remove_catalog(context: &SessionContext, catalog: &str) {
    if let Some(catalog) = context.catalog(catalog) {
        // It may not have been added.
        let _ = catalog.deregister_schema(CATALOG, true);
    }
}

/// Gives each table its number, if a statement asks the catalog. The catalog of each session counts on its own, and
/// in the order in which it is asked; clients use numbers of one session in the next.
pub(crate) async fn number_tables(
    context: &SessionContext,
    statement: &Statement,
) -> Result<(), QueryError> {
    let tables = context.state().resolve_table_references(statement)?;
    if tables.iter().any(|table| table.schema() == Some(CATALOG)) {
        context.sql("SELECT count(oid) FROM pg_catalog.pg_class").await?.collect().await?;
    }
    Ok(())
}

/// Parses the only statement of a text.
pub(crate) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let statements = PARSER.parse(sql).map_err(|error| QueryError::syntax(&error))?;
    let [statement] = <[_; 1]>::try_from(statements)
        .map_err(|_| QueryError::Refused("expected one statement".to_owned()))?;
    Ok(Statement::Statement(Box::new(statement)))
}

/// Splits a text at the semicolons between its statements. Statements that are empty are left out.
///
/// # Errors
///
/// [`QueryError`] if a string or a comment has no end.
pub fn statements(sql: &str) -> Result<Vec<&str>, QueryError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| QueryError::syntax(&error.into()))?;
    let (mut statements, mut start, mut is_empty) = (Vec::new(), 0, true);
    let mut lines = Lines::of(sql);
    for token in &tokens {
        match token.token {
            Token::SemiColon => {
                let end = lines.offset(token.span.start);
                statements.extend((!is_empty).then(|| sql[start..end].trim()));
                (start, is_empty) = (end + 1, true);
            }
            Token::Whitespace(_) => {}
            // A comment before a statement is no part of it.
            _ if is_empty => (start, is_empty) = (lines.offset(token.span.start), false),
            _ => {}
        }
    }
    statements.extend((!is_empty).then(|| sql[start..].trim()));
    Ok(statements)
}

/// Finds the bytes of lines and columns, which only grow.
struct Lines<'a> {
    sql: &'a str,
    /// The number and the first byte of a line.
    line: u64,
    start: usize,
}

impl<'a> Lines<'a> {
    fn of(sql: &'a str) -> Self {
        Self { sql, line: 1, start: 0 }
    }

    fn offset(&mut self, at: Location) -> usize {
        while self.line < at.line {
            let end =
                self.sql[self.start..].find('\n').map_or(self.sql.len(), |n| self.start + n + 1);
            (self.line, self.start) = (self.line + 1, end);
        }
        let column = usize::try_from(at.column).unwrap_or(usize::MAX).saturating_sub(1);
        let line = &self.sql[self.start..];
        line.char_indices().nth(column).map_or(self.sql.len(), |(n_bytes, _)| self.start + n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_separate_statements() {
        for (sql, expected) in [
            ("SELECT 1", &["SELECT 1"][..]),
            (" ;; SELECT 1 ; ", &["SELECT 1"]),
            ("", &[]),
            ("-- nothing;\n/* ; */", &[]),
            ("/* a */ BEGIN", &["BEGIN"]),
            (
                "BEGIN;SELECT 'ä;b' AS \"c;d\";\nCOMMIT;",
                &["BEGIN", "SELECT 'ä;b' AS \"c;d\"", "COMMIT"],
            ),
            (
                "SELECT E'\\'a\\\\' -- ;\n; SELECT $$a;\nb$$",
                &["SELECT E'\\'a\\\\' -- ;", "SELECT $$a;\nb$$"],
            ),
            ("SELECT\n\n'ü'\n;SELECT 2", &["SELECT\n\n'ü'", "SELECT 2"]),
        ] {
            assert_eq!(statements(sql).as_deref(), Ok(expected), "{sql}");
        }
        assert!(statements("SELECT 'open").is_err());
    }
}
