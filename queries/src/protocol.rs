//! Messages between a server and its query processes: over pipes, each behind its length.

use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

use schemas::{Record, Tick};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{Query, QueryError};

/// Longest message. Both sides keep far below it.
const MAX_BYTES: usize = 1 << 30;

/// From the server to a query process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Query(Job),
    /// The rows that the process asked for.
    Rows(Vec<(Tick, Record)>),
}

/// A query, and the history that it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) query: Query,
    pub(crate) folder: PathBuf,
    /// The rows that are not committed; the process asks for those that it needs.
    pub(crate) tail: Option<TailOutline>,
}

/// What is known of a tail before its rows are read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TailOutline {
    pub(crate) writer: String,
    pub(crate) tables: Vec<String>,
}

/// From a query process to the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    /// Asks for rows that are not committed: those of a table after a tick.
    Rows { table: String, after: Option<Tick> },
    /// Some bytes of the answer.
    Part(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The end of the answer, or why there is none.
    End(Result<(), QueryError>),
}

/// Returns a message behind its length.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    with_length(frame)
}

fn with_length(mut frame: Vec<u8>) -> io::Result<Vec<u8>> {
    let n_bytes = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&n_bytes.to_le_bytes());
    Ok(frame)
}

/// Writes a message and flushes it.
pub(crate) fn write(output: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    output.write_all(&frame(message)?)?;
    output.flush()
}

/// Reads the next message; none at the end of the input.
pub(crate) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut message = vec![0; checked(length)?];
    input.read_exact(&mut message)?;
    decode(&message).map(Some)
}

/// Reads the next message. The end of the input is an error.
pub(crate) async fn receive<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut length = [0; 4];
    input.read_exact(&mut length).await?;
    let mut message = vec![0; checked(length)?];
    input.read_exact(&mut message).await?;
    decode(&message)
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let n_bytes = u32::from_le_bytes(length) as usize;
    if n_bytes > MAX_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "a message is too long"));
    }
    Ok(n_bytes)
}

fn decode<T: DeserializeOwned>(message: &[u8]) -> io::Result<T> {
    postcard::from_bytes(message).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut pipe = Vec::new();
        write(&mut pipe, &Response::Part(vec![1, 2, 3])).expect("room");
        write(&mut pipe, &Response::End(Err(QueryError::Busy))).expect("room");
        let mut input = pipe.as_slice();
        assert!(matches!(read(&mut input), Ok(Some(Response::Part(part))) if part == [1, 2, 3]));
        assert!(matches!(read(&mut input), Ok(Some(Response::End(Err(QueryError::Busy))))));
        assert!(matches!(read::<Response>(&mut input), Ok(None)));
    }

    #[test]
    fn half_a_message_and_nonsense_are_errors() {
        let whole = frame(&Response::Part(vec![7; 100])).expect("room");
        let half = read::<Response>(&mut &whole[..50]);
        assert_eq!(half.map_err(|error| error.kind()).err(), Some(ErrorKind::UnexpectedEof));
        let nonsense = read::<Response>(&mut [255; 64].as_slice());
        assert_eq!(nonsense.map_err(|error| error.kind()).err(), Some(ErrorKind::InvalidData));
    }
}
