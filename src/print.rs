//! Printing of results.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Result;

/// Writes text to standard output. A closed pipe is not an error: `head` closes it after its last line.
pub(crate) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    match stdout().write_all(bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
