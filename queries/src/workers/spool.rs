//! An answer that is complete before it is sent: short ones in memory, long ones in a temporary file.
//!
//! So the status of a response is right, and a client that reads slowly keeps no query process.

use std::fmt;
use std::io;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use futures::future::Either;
use futures::stream::{once, try_unfold};
use futures::{Stream, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::QueryError;

/// Bytes of an answer in memory.
const MEMORY_BYTES: usize = 1 << 20;
/// Bytes that are read from a file at once.
const PART_BYTES: usize = 64 * 1024;

/// The bytes of an answer.
#[derive(Default)]
pub struct Spool {
    memory: Vec<u8>,
    /// All bytes, once there are too many for the memory.
    file: Option<File>,
    n_bytes: u64,
}

impl Spool {
    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        self.n_bytes
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.n_bytes == 0
    }

    /// Appends bytes.
    pub(super) async fn push(&mut self, part: Vec<u8>) -> io::Result<()> {
        self.n_bytes += part.len() as u64;
        self.memory.extend(part);
        if self.memory.len() <= MEMORY_BYTES && self.file.is_none() {
            return Ok(());
        }
        if self.file.is_none() {
            let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
            self.file = Some(File::from_std(file.map_err(io::Error::other)??));
        }
        let part = std::mem::take(&mut self.memory);
        match &mut self.file {
            Some(file) => file.write_all(&part).await,
            None => Ok(()),
        }
    }

    /// Reads the rows of an answer in the format [`Format::ArrowStream`](crate::Format::ArrowStream).
    ///
    /// # Errors
    ///
    /// [`QueryError::Failed`] if the answer cannot be read, such as one in another format.
    pub async fn into_batches(self) -> Result<Vec<RecordBatch>, QueryError> {
        let bytes = self.into_bytes().await?;
        let batches = StreamReader::try_new(bytes.as_slice(), None)
            .and_then(Iterator::collect::<Result<_, ArrowError>>);
        batches.map_err(|error| QueryError::Failed(error.to_string()))
    }

    /// Returns the bytes at once.
    ///
    /// # Errors
    ///
    /// [`QueryError::NoRoom`] if the temporary file cannot be read.
    pub async fn into_bytes(self) -> Result<Vec<u8>, QueryError> {
        let read = async { self.into_stream().await?.try_concat().await };
        read.await.map_err(|_| QueryError::NoRoom)
    }

    /// Returns the bytes in parts.
    ///
    /// # Errors
    ///
    /// An error of the temporary file.
    pub async fn into_stream(self) -> io::Result<impl Stream<Item = io::Result<Vec<u8>>> + use<>> {
        let Some(mut file) = self.file else {
            return Ok(Either::Left(once(async { Ok(self.memory) })));
        };
        file.flush().await?;
        file.rewind().await?;
        let parts = try_unfold(file, async |mut file| {
            let mut part = vec![0; PART_BYTES];
            let n_bytes = file.read(&mut part).await?;
            part.truncate(n_bytes);
            Ok((n_bytes > 0).then_some((part, file)))
        });
        Ok(Either::Right(parts))
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Spool({} bytes)", self.n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bytes_come_back_from_memory_and_from_a_file() {
        for n_parts in [0, 1, 3, 40] {
            let mut spool = Spool::default();
            let parts: Vec<_> = (0..n_parts).map(|nth| vec![nth; 100_000]).collect();
            for part in &parts {
                spool.push(part.clone()).await.expect("room");
            }
            assert_eq!(spool.file.is_some(), n_parts == 40);
            assert_eq!(spool.len(), parts.concat().len() as u64);
            let read = spool.into_stream().await.expect("a file");
            let read: Vec<_> = read.try_collect().await.expect("bytes");
            assert!(read.concat() == parts.concat());
        }
    }
}
