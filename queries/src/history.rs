//! The history: tables in one place, with the rows that are not committed yet.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use schemas::{Record, Tick};
use storage::Location;

use crate::encoder::{Encoder, reason};
use crate::session::{RUNTIME, Session};
use crate::{Format, Query, QueryError};

/// Rows that a sink has accepted but not committed.
pub trait LiveTail: fmt::Debug + Send + Sync {
    /// Returns the sink's name as a writer. Its transaction version in a table is the table's upper.
    fn writer(&self) -> &str;

    /// Returns the names of the tables with such rows.
    fn tables(&self) -> Vec<String>;

    /// Returns the next rows of a table with their ticks: some of those after the tick `after`, in the order
    /// of ticks, with all rows of each tick; none at the end. Rows may be committed meanwhile.
    fn rows(&self, table: &str, after: Option<Tick>) -> Vec<(Tick, Record)>;
}

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl Answer {
    /// Encodes the answer in a format.
    ///
    /// # Errors
    ///
    /// [`QueryError::Format`] if the format cannot represent the answer, such as nested columns in CSV.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, QueryError> {
        let mut bytes = Vec::new();
        let encoded =
            Encoder::new(format, Arc::clone(&self.schema), &mut bytes).and_then(|mut encoder| {
                self.batches.iter().try_for_each(|batch| encoder.write(batch))?;
                encoder.finish()
            });
        encoded.map_err(|error| QueryError::Format { format, reason: reason(&error) })?;
        Ok(bytes)
    }
}

/// Tables in one place, with the rows that are not committed yet.
#[derive(Debug)]
pub struct History {
    place: Location,
    tail: Option<Arc<dyn LiveTail>>,
}

impl History {
    /// Creates a history of the tables in `place`, which may not exist yet.
    pub fn new(place: Location, tail: Option<Arc<dyn LiveTail>>) -> Self {
        // Delta needs absolute paths.
        Self { place: place.absolute(), tail }
    }

    /// Where the tables are.
    pub(crate) fn place(&self) -> &Location {
        &self.place
    }

    pub(crate) fn tail(&self) -> Option<&Arc<dyn LiveTail>> {
        self.tail.as_ref()
    }

    /// Answers one read-only statement from the newest rows, within this process.
    ///
    /// A statement of somebody who is not trusted can end the process or take all of its memory: see
    /// [`Workers`](crate::Workers).
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the statement is refused, is invalid, or exceeds its time or its number of rows.
    pub async fn query(&self, query: &Query) -> Result<Answer, QueryError> {
        let (place, tail, query) = (self.place.clone(), self.tail.clone(), query.clone());
        let limits = query.limits;
        let answer = RUNTIME.spawn(async move {
            let history = Self { place, tail };
            let mut rows = Session::open(&history, query.dialect).await?.rows(&query).await?;
            let (mut batches, schema) = (Vec::new(), rows.schema());
            while let Some(batch) = rows.next().await {
                batches.push(batch?);
            }
            Ok(Answer { schema, batches })
        });
        let answer = tokio::time::timeout(limits.timeout, answer).await;
        let answer = answer.map_err(|_| QueryError::TimedOut(limits.timeout))?;
        answer.map_err(|error| QueryError::Failed(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sql: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let folder = tempfile::tempdir().expect("room");
        let history = History::new(folder.path().to_owned().into(), None);
        let answer =
            runtime.expect("a runtime").block_on(history.query(&Query::new(sql, Format::Json)));
        answer.expect_err("the query is invalid").to_string()
    }

    #[test]
    fn errors_name_the_mistake_and_the_choices() {
        for (sql, expected) in [
            ("SELECT * FROM person", "table `person` not found: did you mean `persons`?"),
            ("SELECT * FROM nowhere", "expected one of activities, csi, events"),
            ("SELECT zne FROM persons", "column `zne` not found: did you mean `zone`?"),
            ("SELEKT 1", "syntax error: Expected: an SQL statement, found: SELEKT"),
            ("SELECT 'open", "syntax error: Unterminated string literal"),
            ("SELECT cont(1)", "function `cont` not found: did you mean `"),
            (
                "SELECT sum(zone) FROM persons",
                "function `sum` does not accept arguments of these types",
            ),
            ("SELECT time_bucket(5, captured_at) FROM poses", "as in (INTERVAL '5 minutes'"),
            ("SELECT zone, count(*) FROM persons", "column `persons.zone` must be in GROUP BY"),
            ("SELECT * FROM persons WHERE zone = kitchen", "column `kitchen` not found"),
            ("SELECT * FROM persons WHERE zone = kitchen", "text is in 'single quotes'"),
            ("SELECT sqrt(1, 2)", "sqrt"),
            ("DELETE FROM poses", "queries are read-only"),
            ("INSERT INTO poses VALUES (1)", "queries are read-only"),
            ("CREATE TABLE x AS SELECT 1", "queries are read-only"),
            ("SET a = 1", "queries are read-only"),
            ("COPY poses TO 'x'", "queries are read-only"),
            ("SELECT 1; SELECT 2", "expected one statement"),
            ("SELECT * FROM poses WHERE", "found: the end of the query"),
            ("SELECT zone + 1 FROM persons", "cannot calculate Utf8 + Int64"),
            ("SELECT persons.x FROM poses", "a list has no fields"),
        ] {
            let error = error(sql);
            assert!(error.contains(expected), "{sql}: {error}");
            for internal in ["type_coercion", "ParserError", "Error during planning", "fresnel."] {
                assert!(!error.contains(internal), "{sql}: {error}");
            }
        }
    }

    #[test]
    fn every_time_has_a_timestamp() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("room");
        let history = History::new(folder.path().to_owned().into(), None);
        for (table, columns) in [
            ("poses", "captured_at"),
            ("persons", "captured_at"),
            ("presence", "captured_at"),
            ("occupancy", "since"),
            ("activities", "starts_at, ends_at"),
            ("events", "occurred_at"),
        ] {
            let sql = format!("SELECT {columns} FROM {table}");
            let answer =
                runtime.block_on(history.query(&Query::new(sql, Format::Json))).expect("columns");
            for field in answer.schema.fields() {
                assert_eq!(field.data_type().to_string(), "Timestamp(ns, \"UTC\")", "{table}");
            }
        }
        let sql =
            "SELECT time_bucket(INTERVAL '5 minutes', captured_at) AS at FROM persons GROUP BY at";
        runtime
            .block_on(history.query(&Query::new(sql, Format::Json)))
            .expect("an alias of date_bin");
    }
}
