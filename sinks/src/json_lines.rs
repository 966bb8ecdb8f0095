//! JSON Lines: one record a line, for `jq`, notebooks and golden tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::upper_file::{UpperFile, sync_folder};
use crate::{Sink, SinkContext, SinkError};

/// Bytes after which lines are written early.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Short, so that the file can be followed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Settings of the `json_lines` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesConfig {
    /// File to write. A pipeline that starts anew empties it; one that goes on, goes on in it, as the
    /// file `PATH.upper` beside it tells.
    pub path: PathBuf,
}

impl JsonLinesConfig {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// [`SinkError::Open`] if it cannot be written, [`SinkError::Shorter`] if it was cut off.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<JsonLines<File>, SinkError> {
        let path = context.directory.join(&self.path);
        let failed = |source| SinkError::Open { path: path.clone(), source };
        // A terminal or a pipe keeps nothing.
        let keeps = fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        if !keeps {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            return Ok(JsonLines::new(path, file, None, 0));
        }
        let writer = context.writer();
        let committed = UpperFile::read(&path).map_err(failed)?;
        let committed = committed.filter(|committed| committed.writer == writer);
        let (upper, n_bytes) =
            committed.map_or((0, 0), |committed| (committed.upper, committed.n_bytes));
        let found = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if found < n_bytes {
            return Err(SinkError::Shorter { path, found, committed: n_bytes });
        }
        let take_over = || {
            let file = replace(&path, n_bytes)?;
            let upper = UpperFile::begin(&path, &writer, upper, n_bytes)?;
            Ok((file, upper))
        };
        let (file, upper) = take_over().map_err(failed)?;
        Ok(JsonLines::new(path, file, Some(upper), n_bytes))
    }
}

/// Replaces a file by a copy of its first `n_bytes`, open at their end.
fn replace(path: &Path, n_bytes: u64) -> io::Result<File> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    if n_bytes == 0 {
        File::create(&new)?;
    } else {
        fs::copy(path, &new)?;
    }
    let mut file = OpenOptions::new().write(true).open(&new)?;
    file.truncate(n_bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)?;
    Ok(file)
}

/// A file that ends where it was last committed.
pub(crate) trait Truncate {
    /// Cuts everything off behind the first `n_bytes`.
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Truncate for File {
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()> {
        self.set_len(n_bytes)?;
        self.seek(SeekFrom::Start(n_bytes)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes whole lines only: a commit that fails leaves the file as it was.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    path: PathBuf,
    file: W,
    /// None where nothing is kept.
    upper: Option<UpperFile>,
    /// Lines that are accepted but not in the file.
    lines: Vec<u8>,
    committed_bytes: u64,
}

impl<W: Write + Truncate> JsonLines<W> {
    fn new(path: PathBuf, file: W, upper: Option<UpperFile>, committed_bytes: u64) -> Self {
        Self { path, file, upper, lines: Vec::new(), committed_bytes }
    }

    /// Appends the accepted lines, and then notes the upper.
    fn append(&mut self, upper: Tick) -> io::Result<()> {
        self.file.write_all(&self.lines)?;
        self.file.flush()?;
        let Some(upper_file) = &mut self.upper else { return Ok(()) };
        self.file.sync()?;
        upper_file.commit(upper, self.committed_bytes + self.lines.len() as u64)
    }
}

impl<W: Write + Truncate + Send> Sink for JsonLines<W> {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        if self.upper().is_some_and(|upper| tick < upper) {
            return Ok(0);
        }
        let accepted_bytes = self.lines.len();
        for record in records {
            if let Err(source) = record.write_json_lines(&mut self.lines) {
                self.lines.truncate(accepted_bytes);
                return Err(SinkError::Encode { tick, source });
            }
        }
        Ok(records.iter().map(Record::len).sum())
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        if self.upper().is_some_and(|committed| upper <= committed) {
            return Ok(());
        }
        if let Err(source) = self.append(upper) {
            // What was written of it must not be there twice after the next try.
            let _ = self.file.truncate(self.committed_bytes);
            return Err(SinkError::Write { path: self.path.clone(), source });
        }
        self.committed_bytes += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }

    fn upper(&self) -> Option<Tick> {
        self.upper.as_ref().map(UpperFile::upper)
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

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_and_doubles_nothing() {
        let record = Record::Presence(Presence::default());
        let line = serde_json::to_string(&record).expect("a record is JSON");
        let disk = Disk { bytes: Vec::new(), room: line.len() + 10 };
        let mut sink = JsonLines::new(PathBuf::from("lines"), disk, None, 0);
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

    /// Ten lines, one a tick; committed up to a tick.
    fn open(folder: &Path, lineage: &str) -> JsonLines<File> {
        let context = SinkContext {
            pipeline: "flat",
            name: "out",
            inputs: &[],
            lineage,
            generation: 1,
            directory: folder,
            hub: &std::sync::Arc::default(),
        };
        let config = JsonLinesConfig { path: "out.jsonl".into() };
        config.open(&context).expect("the folder can be written")
    }

    fn write(sink: &mut JsonLines<File>, ticks: std::ops::Range<Tick>) {
        for tick in ticks {
            let presence = Presence { captured_at_ns: tick.cast_signed(), ..Presence::default() };
            sink.write(tick, &[Record::Presence(presence)]).expect("memory takes it");
        }
    }

    fn ticks(folder: &Path) -> Vec<i64> {
        let lines = fs::read_to_string(folder.join("out.jsonl")).expect("it is there");
        let lines = lines.lines().map(|line| serde_json::from_str(line).expect("a record"));
        let ticks = lines.map(|record| match record {
            Record::Presence(presence) => presence.captured_at_ns,
            other => panic!("nobody wrote {}", other.kind()),
        });
        ticks.collect()
    }

    #[test]
    fn the_next_run_goes_on_where_the_last_one_committed() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let mut first = open(folder, "1");
        write(&mut first, 0..3);
        first.commit(3).expect("room");
        write(&mut first, 3..5);
        let mut second = open(folder, "1");
        assert_eq!(second.upper(), Some(3));
        write(&mut second, 3..6);
        second.commit(6).expect("room");
        // A run that was taken over writes to files that nobody sees.
        first.commit(5).expect("room");
        assert_eq!(ticks(folder), [0, 1, 2, 3, 4, 5]);
        assert_eq!(open(folder, "1").upper(), Some(6));
        assert_eq!(open(folder, "2").upper(), Some(0), "another history starts anew");
        assert!(ticks(folder).is_empty());
    }
}
