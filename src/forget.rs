//! `fresnel forget`: removes a person from a history.

use anyhow::{Context, Result};
use queries::{Format, History, Query};
use serde_json::Value;
use storage::Location;

use crate::print::print;
use crate::sql::{check_history, runtime};

/// Removes a person, and prints the number of rows in each table that mentioned the person.
pub(crate) fn forget(history: &Location, person: &str) -> Result<()> {
    check_history(history)?;
    // The number of rows is a courtesy: the removal does not depend on it.
    let counts = counts(history, person);
    engine::forget(history, person)?;
    let Ok(counts) = counts else { return print(&format!("removed {person}\n")) };
    if counts.is_empty() {
        return print(&format!("no row mentions {person}\n"));
    }
    let counts = counts.iter().map(|(table, n_rows)| format!("{n_rows} rows of {table}"));
    print(&format!("removed {person} from {}\n", counts.collect::<Vec<_>>().join(", ")))
}

/// Returns the tables that mention a person, each with its number of such rows.
fn counts(history: &Location, person: &str) -> Result<Vec<(&'static str, u64)>> {
    let runtime = runtime()?;
    let history = History::new(history.clone(), None);
    // The name becomes part of the SQL text, so its quotes are escaped.
    let name = person.replace('\'', "''");
    let conditions = [
        (
            "poses",
            format!(
                "captured_at_ns IN (SELECT captured_at_ns FROM persons WHERE person = '{name}')"
            ),
        ),
        ("occupancy", format!("array_has(persons, '{name}')")),
        ("activities", format!("subject = '{name}'")),
        ("events", format!("subject = '{name}'")),
    ];
    let mut counts = Vec::new();
    for (table, condition) in conditions {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {condition}");
        let answer = runtime.block_on(history.query(&Query::new(sql, Format::Json)))?;
        let rows: Value = serde_json::from_slice(&answer.encode(Format::Json)?)?;
        let n_rows = rows[0]["n"].as_u64().context("expected a count")?;
        if n_rows > 0 {
            counts.push((table, n_rows));
        }
    }
    Ok(counts)
}
