//! Messages between a server and its query processes: over pipes, each behind its length.

use std::io::{self, ErrorKind, Read, Write};

use schemas::{Record, Tick};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::Location;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{Query, QueryError};

/// Longest message of the server; it keeps far below it.
const MAX_REQUEST_BYTES: usize = 1 << 30;
/// Longest message of a query process, which may send anything.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// From the server to a query process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Query(Box<Job>),
    /// The rows that the process asked for.
    Rows(Vec<(Tick, Record)>),
}

/// A query, and the history that it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) query: Query,
    pub(crate) place: Location,
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
    /// The end of the answer, or why there is none. The process can take the next query if nothing of this one
    /// runs on.
    End { result: Result<(), QueryError>, is_idle: bool },
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
pub(crate) fn read(input: &mut impl Read) -> io::Result<Option<Request>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut message = vec![0; checked(length, MAX_REQUEST_BYTES)?];
    input.read_exact(&mut message)?;
    decode(&message).map(Some)
}

/// Reads the next message. The end of the input is an error.
pub(crate) async fn receive(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Response> {
    let mut length = [0; 4];
    input.read_exact(&mut length).await?;
    let mut message = vec![0; checked(length, MAX_RESPONSE_BYTES)?];
    input.read_exact(&mut message).await?;
    decode(&message)
}

fn checked(length: [u8; 4], limit: usize) -> io::Result<usize> {
    let n_bytes = u32::from_le_bytes(length) as usize;
    if n_bytes > limit {
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

    #[tokio::test]
    async fn a_message_is_read_as_it_was_written() {
        let mut pipe = Vec::new();
        write(&mut pipe, &Response::Part(vec![1, 2, 3])).expect("room");
        write(&mut pipe, &Response::End { result: Err(QueryError::Busy), is_idle: true })
            .expect("room");
        let mut input = pipe.as_slice();
        assert!(matches!(receive(&mut input).await, Ok(Response::Part(part)) if part == [1, 2, 3]));
        let end = receive(&mut input).await;
        assert!(matches!(end, Ok(Response::End { result: Err(QueryError::Busy), is_idle: true })));
        let pipe = frame(&Request::Rows(Vec::new())).expect("room");
        let mut input = pipe.as_slice();
        assert!(matches!(read(&mut input), Ok(Some(Request::Rows(rows))) if rows.is_empty()));
        assert!(matches!(read(&mut input), Ok(None)));
    }

    #[tokio::test]
    async fn half_a_message_and_nonsense_are_errors() {
        let kind = async |mut input: &[u8]| receive(&mut input).await.map_err(|it| it.kind()).err();
        let whole = frame(&Response::Part(vec![7; 100])).expect("room");
        assert_eq!(kind(&whole[..50]).await, Some(ErrorKind::UnexpectedEof));
        assert_eq!(kind(&[255; 64]).await, Some(ErrorKind::InvalidData));
        assert_eq!(kind(&[1, 0, 0, 0, 99]).await, Some(ErrorKind::InvalidData));
    }
}
