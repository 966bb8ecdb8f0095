//! Printing of results.

use std::io::{Write, stdout};

use anyhow::Result;

/// Writes text to standard output. A closed pipe is an error, not a panic.
pub(crate) fn print(text: &str) -> Result<()> {
    Ok(stdout().write_all(text.as_bytes())?)
}
