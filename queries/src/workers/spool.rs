//! An answer that is complete before it is sent: short ones in memory, long ones in a temporary file.
//!
//! So the status of a response is right, and a client that reads slowly keeps no query process.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use futures::future::Either;
use futures::stream::{iter, once, try_unfold};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::QueryError;

/// Bytes of an answer in memory.
const MEMORY_BYTES: u64 = 1 << 20;
/// Bytes of all answers in memory; the others are in files.
const ALL_MEMORY_BYTES: u64 = 32 << 20;
/// Bytes of all answers in files.
const ALL_FILE_BYTES: u64 = 16 << 30;
/// Bytes that are read from a file at once.
const PART_BYTES: usize = 64 * 1024;

/// The bytes of all answers that wait to be read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    memory: AtomicU64,
    files: AtomicU64,
}

impl Unread {
    fn reserve(counter: &AtomicU64, n_bytes: u64, limit: u64) -> bool {
        let add = |sum: u64| sum.checked_add(n_bytes).filter(|sum| *sum <= limit);
        counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// The rows of an answer.
pub type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch, QueryError>> + Send>>;

/// Reads the rows of an answer from its bytes.
struct Reader {
    parts: Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>> + Send>>,
    /// The rest of a part.
    unread: Buffer,
    decoder: StreamDecoder,
}

impl Reader {
    /// Returns the next rows; none at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        loop {
            let failed = |error: ArrowError| QueryError::Failed(error.to_string());
            if let Some(batch) = self.decoder.decode(&mut self.unread).map_err(failed)? {
                return Ok(Some(batch));
            }
            match self.parts.try_next().await.map_err(|_| QueryError::NoRoom)? {
                Some(part) => self.unread = Buffer::from_vec(part),
                None => return Ok(None),
            }
        }
    }
}

/// The bytes of an answer.
pub struct Spool {
    unread: Arc<Unread>,
    n_in_memory: u64,
    memory: Vec<u8>,
    /// All bytes, once there are too many for the memory.
    file: Option<File>,
    n_bytes: u64,
}

impl Spool {
    pub(super) fn new(unread: Arc<Unread>) -> Self {
        let (memory, file) = Default::default();
        Self { unread, n_in_memory: 0, memory, file, n_bytes: 0 }
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        self.n_bytes
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.n_bytes == 0
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// An error if the answers that wait are too long in all, or an error of the temporary file.
    pub(super) async fn push(&mut self, mut part: Vec<u8>) -> io::Result<()> {
        let n_bytes = part.len() as u64;
        if self.file.is_none() && self.fits_in_memory(n_bytes) {
            self.memory.append(&mut part);
        } else {
            self.write(part).await?;
        }
        self.n_bytes += n_bytes;
        Ok(())
    }

    fn fits_in_memory(&mut self, n_bytes: u64) -> bool {
        let fits = self.n_in_memory + n_bytes <= MEMORY_BYTES
            && Unread::reserve(&self.unread.memory, n_bytes, ALL_MEMORY_BYTES);
        self.n_in_memory += if fits { n_bytes } else { 0 };
        fits
    }

    async fn write(&mut self, part: Vec<u8>) -> io::Result<()> {
        if !Unread::reserve(&self.unread.files, part.len() as u64, ALL_FILE_BYTES) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
                let mut file = File::from_std(file.map_err(io::Error::other)??);
                file.write_all(&self.memory).await?;
                self.memory = Vec::new();
                empty.insert(file)
            }
        };
        file.write_all(&part).await
    }

    /// Reads the columns of an answer in the format [`Format::ArrowStream`](crate::Format::ArrowStream), and
    /// then its rows.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the answer cannot be read, such as one in another format.
    pub async fn into_batches(self) -> Result<(SchemaRef, Batches), QueryError> {
        let parts = self.into_stream().await.map_err(|_| QueryError::NoRoom)?;
        let mut reader = Reader {
            parts: Box::pin(parts),
            unread: Buffer::default(),
            decoder: StreamDecoder::new(),
        };
        // The columns come before the rows.
        let first = reader.next().await?;
        let schema = reader.decoder.schema();
        let schema = schema.ok_or_else(|| QueryError::Failed("the answer is empty".to_owned()))?;
        let rest = try_unfold(reader, async |mut reader| {
            let batch = reader.next().await?;
            Ok(batch.map(|batch| (batch, reader)))
        });
        Ok((schema, Box::pin(iter(first.map(Ok)).chain(rest))))
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
    pub async fn into_stream(
        mut self,
    ) -> io::Result<impl Stream<Item = io::Result<Vec<u8>>> + use<>> {
        let Some(mut file) = self.file.take() else {
            let memory = std::mem::take(&mut self.memory);
            // The answer waits until it is read.
            return Ok(Either::Left(once(async move {
                let _unread = self;
                Ok(memory)
            })));
        };
        file.flush().await?;
        file.rewind().await?;
        let parts = try_unfold((file, self), async |(mut file, unread)| {
            let mut part = vec![0; PART_BYTES];
            let n_bytes = file.read(&mut part).await?;
            part.truncate(n_bytes);
            Ok((n_bytes > 0).then_some((part, (file, unread))))
        });
        Ok(Either::Right(parts))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let in_files = self.n_bytes - self.n_in_memory.min(self.n_bytes);
        self.unread.memory.fetch_sub(self.n_in_memory, Ordering::Relaxed);
        self.unread.files.fetch_sub(in_files, Ordering::Relaxed);
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
            let unread = Arc::new(Unread::default());
            let mut spool = Spool::new(Arc::clone(&unread));
            let parts: Vec<_> = (0..n_parts).map(|nth| vec![nth; 100_000]).collect();
            for part in &parts {
                spool.push(part.clone()).await.expect("room");
            }
            assert_eq!(spool.file.is_some(), n_parts == 40);
            assert_eq!(spool.len(), parts.concat().len() as u64);
            let read = spool.into_stream().await.expect("a file");
            let read: Vec<_> = read.try_collect().await.expect("bytes");
            assert!(read.concat() == parts.concat());
            let sums = [&unread.memory, &unread.files].map(|sum| sum.load(Ordering::Relaxed));
            assert_eq!(sums, [0, 0]);
        }
    }
}
