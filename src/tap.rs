//! `fresnel tap`: prints the records of a stream of a running pipeline.

use std::io::{BufRead, BufReader, ErrorKind, Write, stdout};

use anyhow::Result;

use crate::client::Client;

/// Prints lines of JSON until the pipeline ends or standard output is closed.
pub(crate) fn tap(stream: &str, address: &str) -> Result<()> {
    let records = Client::new(address).get(&format!("/api/v1/streams/{stream}/tap"))?;
    let mut records = BufReader::new(records);
    let mut line = Vec::new();
    while records.read_until(b'\n', &mut line)? > 0 {
        match stdout().write_all(&line) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        line.clear();
    }
    Ok(())
}
