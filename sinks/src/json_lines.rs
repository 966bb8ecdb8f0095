//! JSON Lines: one record a line, for `jq`, notebooks and golden tests.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::{Sink, SinkContext, SinkError};

/// Bytes after which lines are written early.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Short, so that the file can be followed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Settings of the `json_lines` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesConfig {
    /// File to write; one that is already there is emptied.
    pub path: PathBuf,
}

impl JsonLinesConfig {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// [`SinkError::Open`] if it cannot be created.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<JsonLines<File>, SinkError> {
        let path = context.directory.join(&self.path);
        match File::create(&path) {
            Ok(file) => Ok(JsonLines::new(path, file)),
            Err(source) => Err(SinkError::Open { path, source }),
        }
    }
}

/// A file that ends where it was last committed.
pub(crate) trait Truncate {
    /// Cuts everything off behind the first `n_bytes`.
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()>;
}

impl Truncate for File {
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()> {
        self.set_len(n_bytes)?;
        self.seek(SeekFrom::Start(n_bytes)).map(|_| ())
    }
}

/// Writes whole lines only: a commit that fails leaves the file as it was.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    path: PathBuf,
    file: W,
    /// Lines that are accepted but not in the file.
    lines: Vec<u8>,
    committed_bytes: u64,
}

impl<W> JsonLines<W> {
    fn new(path: PathBuf, file: W) -> Self {
        Self { path, file, lines: Vec::new(), committed_bytes: 0 }
    }
}

impl<W: Write + Truncate + Send> Sink for JsonLines<W> {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<(), SinkError> {
        let accepted_bytes = self.lines.len();
        for record in records {
            if let Err(source) = serde_json::to_writer(&mut self.lines, record) {
                self.lines.truncate(accepted_bytes);
                return Err(SinkError::Encode { tick, source });
            }
            self.lines.push(b'\n');
        }
        Ok(())
    }

    fn commit(&mut self, _upper: Tick) -> Result<(), SinkError> {
        let written = self.file.write_all(&self.lines).and_then(|()| self.file.flush());
        if let Err(source) = written {
            // What was written of it must not be there twice after the next try.
            let _ = self.file.truncate(self.committed_bytes);
            return Err(SinkError::Write { path: self.path.clone(), source });
        }
        self.committed_bytes += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }

    fn full(&self) -> bool {
        self.lines.len() >= FULL_BYTES
    }

    fn commit_interval(&self) -> Duration {
        COMMIT_INTERVAL
    }
}

#[cfg(test)]
mod tests {
    use schemas::Presence;

    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let n_bytes = buffer.len().min(self.room - self.bytes.len());
            self.bytes.extend(&buffer[..n_bytes]);
            if n_bytes == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n_bytes) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Truncate for Disk {
        fn truncate(&mut self, n_bytes: u64) -> io::Result<()> {
            self.bytes.truncate(usize::try_from(n_bytes).expect("small"));
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_and_doubles_nothing() {
        let record = Record::Presence(Presence::default());
        let line = serde_json::to_string(&record).expect("a record is JSON");
        let disk = Disk { bytes: Vec::new(), room: line.len() + 10 };
        let mut sink = JsonLines::new(PathBuf::from("lines"), disk);
        sink.write(0, std::slice::from_ref(&record)).expect("memory takes it");
        sink.commit(10).expect("one line fits");
        sink.write(10, &[record]).expect("memory takes it");
        let error = sink.commit(20).expect_err("a second line does not fit");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(sink.file.bytes.len(), line.len() + 1, "no half line");
        sink.file.room = 10_000;
        sink.commit(20).expect("there is room now");
        assert_eq!(sink.file.bytes, format!("{line}\n{line}\n").into_bytes());
    }
}
