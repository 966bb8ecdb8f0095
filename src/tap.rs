//! `fresnel tap`: the records of a stream while they flow.

use std::io::{BufRead, BufReader, ErrorKind, Write, stdout};

use anyhow::{Context, Result};

/// Prints lines of JSON until the pipeline ends, or nobody reads them any more.
pub(crate) fn tap(stream: &str, url: &str) -> Result<()> {
    let url = format!("{}/api/v1/streams/{stream}/tap", url.trim_end_matches('/'));
    let records = ureq::get(&url).call().with_context(|| format!("could not ask {url}"))?;
    let mut records = BufReader::new(records.into_body().into_reader());
    let mut line = Vec::new();
    while records.read_until(b'\n', &mut line)? > 0 {
        match stdout().write_all(&line) {
            // Who reads it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        line.clear();
    }
    Ok(())
}
