//! `fresnel tap`: prints the records of a stream of a running pipeline.

use std::io::{BufRead, BufReader, ErrorKind, Write, stdout};

use anyhow::Result;

use crate::client::Client;

/// Prints lines of JSON until the pipeline ends or standard output is closed.
pub(crate) fn tap(stream: &str, address: &str) -> Result<()> {
    let path = format!("/api/v1/streams/{}/tap", percent_encoded(stream));
    let records = Client::new(address).get(&path)?;
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

/// Returns a segment of a path, in which no letter has a meaning for URLs.
fn percent_encoded(segment: &str) -> String {
    let encoded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).into(),
        byte => format!("%{byte:02X}"),
    };
    segment.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_are_segments_of_a_path() {
        assert_eq!(percent_encoded("room.truth"), "room.truth");
        assert_eq!(percent_encoded("a b/?ü"), "a%20b%2F%3F%C3%BC");
    }
}
