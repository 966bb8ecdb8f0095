//! `fresnel sql`: queries a history without a running pipeline.

use std::io::{IsTerminal, stdout};
use std::path::Path;

use anyhow::{Result, bail};
use queries::{Answer, Format, History, Query, find_histories, is_history};
use ratatui::crossterm::terminal;
use storage::Location;
use tokio::runtime::Runtime;

use crate::print::print_bytes;

/// Prints the answer to a query.
pub(crate) fn sql(history: Location, format: Option<Format>, query: &str) -> Result<()> {
    check_history(&history)?;
    let query = Query::new(query, format.unwrap_or_default());
    let answer = runtime()?.block_on(History::new(history, None).query(&query))?;
    let text = match format {
        Some(format) => answer.encode(format)?,
        None => for_terminal(&answer)?,
    };
    print_bytes(&text)
}

/// Returns a table, or a line for each value if the terminal is too narrow for the table.
fn for_terminal(answer: &Answer) -> Result<Vec<u8>> {
    let table = answer.encode(Format::Pretty)?;
    let Some((columns, _)) = terminal::size().ok().filter(|_| stdout().is_terminal()) else {
        return Ok(table);
    };
    let width = str::from_utf8(&table)?.lines().next().map_or(0, |line| line.chars().count());
    Ok(if width > columns.into() { answer.encode(Format::Expanded)? } else { table })
}

/// Rejects a place without tables: each query on it would return no rows.
pub(crate) fn check_history(history: &Location) -> Result<()> {
    let is_history = match history {
        Location::Folder(folder) => is_history(folder),
        Location::Bucket(_) => !runtime()?.block_on(history.tables())?.is_empty(),
    };
    if is_history {
        return Ok(());
    }
    let found = find_histories(Path::new("."));
    let found = found.iter().map(|history| history.strip_prefix(".").unwrap_or(history));
    let found: Vec<_> = found.map(|history| format!("--history {}", history.display())).collect();
    let hint = if found.is_empty() {
        "expected a folder of tables that a `delta` sink has written, or a URL of such a place in a bucket".to_owned()
    } else {
        format!("try {}", found.join(" or "))
    };
    bail!("no history in \"{history}\": {hint}")
}

/// Returns a runtime for a query of a command.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
