//! JSON Lines: one record a line, for `jq`, notebooks and golden tests.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use schemas::{Record, Tick};
use serde::Deserialize;

use crate::line_file::{LineFile, Truncate};
use crate::rejected::{DeadLetter, NO_FORM, Rejected};
use crate::settings::{SinkSettings, path_mistake};
use crate::{OpenSink, OutputError, Sink, SinkContext, SinkError};

/// Bytes of accepted lines that make a commit due at once.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Short, so that readers can follow the file.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Settings of the `json_lines` sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesConfig {
    /// Path of the file to write. A fresh start of the pipeline empties the file, if the same sink has
    /// written it. A pipeline that resumes continues the file after its last commit, which the file
    /// `PATH.upper` beside it records.
    pub path: PathBuf,
}

impl JsonLinesConfig {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// [`SinkError::Open`] if it cannot be written, [`SinkError::Shorter`] if committed lines are
    /// missing.
    pub(crate) fn open(&self, context: &SinkContext<'_>) -> Result<JsonLines<File>, SinkError> {
        let path = context.directory.join(&self.path);
        let writer = context.writer();
        // A terminal or a pipe stores nothing.
        let keeps = fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        if !keeps {
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.map_err(|source| SinkError::Open { path: path.clone(), source })?;
            return Ok(JsonLines::new(LineFile::new(path, file, None, 0), writer));
        }
        let mut sink = JsonLines::new(LineFile::open(path, &writer)?, writer);
        let dead_letters = dead_letters_beside(sink.file.path());
        if fs::exists(&dead_letters).unwrap_or(true) {
            sink.dead_letters = Some(LineFile::open(dead_letters, &sink.writer)?);
        }
        Ok(sink)
    }
}

impl SinkSettings for JsonLinesConfig {
    fn problems(&self) -> Vec<String> {
        path_mistake(&self.path).into_iter().collect()
    }

    /// The lines of pictures describe them, without their pixels.
    fn takes_pictures(&self) -> bool {
        true
    }

    fn state_shape(&self) -> Option<String> {
        Some(format!("json_lines 1, {}", self.path.display()))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files()
    }

    fn leftovers(&self, directory: &Path) -> Option<String> {
        self.leftovers(directory)
    }

    fn output(&self, writer: &str, directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
        self.output(writer, directory)
    }

    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError> {
        Ok(OpenSink::new(self.open(context)?))
    }
}

/// The path of a file's dead letters.
fn dead_letters_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rejected");
    name.into()
}

/// Writes whole lines only: a failed commit does not change the committed lines.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    writer: String,
    file: LineFile<W>,
    /// The file `PATH.rejected`. None before the first record is rejected.
    dead_letters: Option<LineFile<File>>,
    rejected: Rejected,
}

impl<W> JsonLines<W> {
    fn new(file: LineFile<W>, writer: String) -> Self {
        Self { writer, file, dead_letters: None, rejected: Rejected::new() }
    }

    /// Accepts the dead letters of one tick, unless the file already has them.
    fn reject(&mut self, tick: Tick, letters: &[DeadLetter]) -> Result<(), SinkError> {
        if self.file.upper().is_some() {
            let file = self.dead_letters()?;
            if file.upper().is_some_and(|upper| tick < upper) {
                return Ok(());
            }
            for letter in letters {
                let line = serde_json::to_vec(letter).expect("text and numbers are JSON");
                file.lines.extend(line);
                file.lines.push(b'\n');
            }
        }
        for letter in letters {
            letter.count(&mut self.rejected);
        }
        Ok(())
    }

    /// Returns the file of dead letters; creates it if it is missing.
    fn dead_letters(&mut self) -> Result<&mut LineFile<File>, SinkError> {
        if self.dead_letters.is_none() {
            let path = dead_letters_beside(self.file.path());
            if self.file.is_taken_over() {
                return Err(SinkError::Fenced { path });
            }
            let open = || {
                let mut file = LineFile::open(path, &self.writer)?;
                file.fence()?;
                Ok(file)
            };
            self.dead_letters = Some(open().map_err(|error| match error {
                // The folder was writable when the sink was opened, so the disk may be full: a retry
                // may succeed.
                SinkError::Open { path, source } => SinkError::Write { path, source },
                error => error,
            })?);
        }
        Ok(self.dead_letters.as_mut().expect("it was made if it was not there"))
    }
}

impl<W: Write + Truncate + Send> Sink for JsonLines<W> {
    fn fence(&mut self) -> Result<(), SinkError> {
        self.file.fence()?;
        self.dead_letters.as_mut().map_or(Ok(()), LineFile::fence)
    }

    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        if self.upper().is_some_and(|upper| tick < upper) {
            return Ok(0);
        }
        let lines = &mut self.file.lines;
        let n_before = lines.len();
        let (mut n_accepted, mut letters) = (0, Vec::new());
        for record in records {
            let n_bytes = lines.len();
            match record.write_json_lines(lines) {
                Ok(()) => n_accepted += record.len(),
                Err(error) => {
                    // Removes the incomplete line.
                    lines.truncate(n_bytes);
                    letters.push(DeadLetter::new(tick, record, NO_FORM, error.to_string()));
                }
            }
        }
        if !letters.is_empty()
            && let Err(error) = self.reject(tick, &letters)
        {
            self.file.lines.truncate(n_before);
            return Err(error);
        }
        Ok(n_accepted)
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        if self.upper().is_some_and(|committed| upper <= committed) {
            return Ok(());
        }
        // Before the lines: after a crash in between, the replay rejects the records again.
        if let Some(dead_letters) = &mut self.dead_letters
            && !dead_letters.lines.is_empty()
        {
            dead_letters.commit(upper)?;
        }
        self.file.commit(upper)
    }

    fn upper(&self) -> Option<Tick> {
        self.file.upper()
    }

    fn full(&self) -> bool {
        let dead_letters = self.dead_letters.as_ref().map_or(0, |file| file.lines.len());
        self.file.lines.len() + dead_letters >= FULL_BYTES
    }

    fn commit_interval(&self) -> Duration {
        COMMIT_INTERVAL
    }

    fn take_rejected(&mut self) -> Rejected {
        std::mem::take(&mut self.rejected)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use arrow::array::{Array, Int64Array, MapArray, RecordBatch, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    use schemas::{Presence, Rows};

    use super::*;
    use crate::Hub;
    use crate::upper_file::tests::fail_syncs;

    /// A disk with limited room, in bytes.
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
        let file = LineFile::new(PathBuf::from("lines"), disk, None, 0);
        let mut sink = JsonLines::new(file, String::new());
        sink.write(0, std::slice::from_ref(&record)).expect("memory takes it");
        sink.commit(10).expect("one line fits");
        sink.write(10, &[record]).expect("memory takes it");
        let error = sink.commit(20).expect_err("a second line does not fit");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(sink.file.file.bytes.len(), line.len() + 1, "no half line");
        sink.file.file.room = 10_000;
        sink.commit(20).expect("there is room now");
        assert_eq!(sink.file.file.bytes, format!("{line}\n{line}\n").into_bytes());
    }

    /// A sink of a run that has not begun.
    fn unfenced(folder: &Path, lineage: &str) -> JsonLines<File> {
        let config = JsonLinesConfig { path: "out.jsonl".into() };
        let hub = Arc::default();
        config.open(&context(folder, lineage, &hub)).expect("the folder can be written")
    }

    fn context<'a>(folder: &'a Path, lineage: &'a str, hub: &'a Arc<Hub>) -> SinkContext<'a> {
        SinkContext {
            pipeline: "flat",
            name: "out",
            inputs: &[],
            lineage,
            generation: 1,
            directory: folder,
            hub,
        }
    }

    fn open(folder: &Path, lineage: &str) -> JsonLines<File> {
        let mut sink = unfenced(folder, lineage);
        sink.fence().expect("nobody else writes");
        sink
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
    fn what_others_have_written_is_left_alone() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let mut first = open(folder, "1");
        write(&mut first, 0..3);
        first.commit(3).expect("room");
        let (config, hub) = (JsonLinesConfig { path: "out.jsonl".into() }, Arc::default());
        let open_as = |pipeline| {
            let mut sink = config.open(&SinkContext { pipeline, ..context(folder, "2", &hub) })?;
            sink.fence()
        };
        let refused = open_as("other");
        let said = refused.map_err(|error| error.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains("\"flat/out/1\"")), "{said:?}");
        assert_eq!(ticks(folder), [0, 1, 2]);
        open_as("flat").expect("it is its own");
        assert_eq!(ticks(folder), [0; 0]);
        fs::write(folder.join("out.jsonl"), "my own").expect("room");
        fs::remove_file(folder.join("out.jsonl.upper")).expect("it is there");
        let refused = open_as("flat");
        assert!(matches!(refused, Err(SinkError::OfOthers { writer: None, .. })), "{refused:?}");
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
        // A fenced run writes to files that no reader sees.
        first.commit(5).expect("room");
        assert_eq!(ticks(folder), [0, 1, 2, 3, 4, 5]);
        assert_eq!(open(folder, "1").upper(), Some(6));
        assert_eq!(open(folder, "2").upper(), Some(0), "another history starts anew");
        assert!(ticks(folder).is_empty());
    }

    /// The next run continues, no matter when a run ends after a failed sync.
    #[test]
    fn a_failed_sync_loses_and_doubles_nothing() {
        for n_failing in [1, 2, 6] {
            let folder = tempfile::tempdir().expect("room");
            let folder = folder.path();
            let mut first = open(folder, "1");
            write(&mut first, 0..3);
            first.commit(3).expect("room");
            write(&mut first, 3..5);
            fail_syncs(n_failing);
            for _ in 0..n_failing {
                let error = first.commit(5).expect_err("the sync fails");
                assert!(error.is_retryable(), "{error}");
            }
            // The run ends here, or tries again.
            let mut second = if n_failing == 6 { open(folder, "1") } else { first };
            if n_failing < 6 {
                second.commit(5).expect("the disk is well again");
            }
            let upper = second.upper().expect("it keeps what it takes");
            assert!([3, 5].contains(&upper), "{upper}");
            write(&mut second, upper..6);
            second.commit(6).expect("room");
            assert_eq!(ticks(folder), [0, 1, 2, 3, 4, 5], "after {n_failing} failed syncs");
            assert_eq!(open(folder, "1").upper(), Some(6));
        }
    }

    /// The newest upper covers lines that are missing, as after a disk that lost synced data.
    #[test]
    fn the_commit_before_holds_if_lines_are_missing() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let mut first = open(folder, "1");
        for tick in [1, 2] {
            write(&mut first, tick - 1..tick);
            first.commit(tick).expect("room");
        }
        let cut = |n_lines: usize| {
            let path = folder.join("out.jsonl");
            let text = fs::read_to_string(&path).expect("it is there");
            let left: String = text.split_inclusive('\n').take(n_lines).collect();
            fs::write(&path, left).expect("room");
        };
        cut(1);
        let mut second = open(folder, "1");
        assert_eq!(second.upper(), Some(1));
        write(&mut second, 1..3);
        second.commit(3).expect("room");
        assert_eq!(ticks(folder), [0, 1, 2]);
        cut(0);
        let config = JsonLinesConfig { path: "out.jsonl".into() };
        let hub = Arc::default();
        let refused = config.open(&context(folder, "1", &hub));
        assert!(matches!(refused, Err(SinkError::Shorter { found: 0, .. })), "{refused:?}");
    }

    /// Rows with a column that JSON cannot represent: a map with numbers for keys.
    fn misfit() -> Record {
        let number = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
        let numbers = || Arc::new(Int64Array::from(vec![7])) as Arc<dyn Array>;
        let entries =
            StructArray::from(vec![(number("keys"), numbers()), (number("values"), numbers())]);
        let field = Field::new("entries", entries.data_type().clone(), false);
        let offsets = OffsetBuffer::from_lengths([1]);
        let map = MapArray::new(Arc::new(field), offsets, entries, None, false);
        let batch = RecordBatch::try_from_iter([("map", Arc::new(map) as Arc<dyn Array>)]);
        Record::Rows(Rows {
            stream: "rows".into(),
            partition: "0".into(),
            sequence: 0,
            times_ns: vec![0],
            batch: batch.expect("a column"),
        })
    }

    #[test]
    fn a_record_that_has_no_form_is_a_dead_letter() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let letters = || {
            let lines = fs::read_to_string(folder.join("out.jsonl.rejected")).expect("it is there");
            let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
            lines.collect::<Vec<serde_json::Value>>()
        };
        let good = |tick: Tick| {
            let captured_at_ns = tick.cast_signed();
            Record::Presence(Presence { captured_at_ns, ..Presence::default() })
        };
        let mut first = open(folder, "1");
        assert_eq!(first.write(0, &[good(0), misfit(), good(0)]).expect("memory"), 2);
        assert_eq!(first.take_rejected(), Rejected::from([(NO_FORM, 1)]));
        assert!(first.take_rejected().is_empty(), "they are counted once");
        first.commit(1).expect("room");
        assert_eq!(ticks(folder), [0, 0]);
        assert_eq!(letters().len(), 1);
        assert_eq!((&letters()[0]["tick"], &letters()[0]["kind"]), (&0.into(), &"rows".into()));
        // The dead letter is committed before the lines: here the run ends in between.
        assert_eq!(first.write(1, &[misfit(), good(1)]).expect("memory"), 1);
        let dead_letters = first.dead_letters.as_mut().expect("it was made");
        dead_letters.commit(2).expect("room");
        let mut second = open(folder, "1");
        assert_eq!(second.upper(), Some(1));
        assert_eq!(second.write(0, &[good(0), misfit()]).expect("memory"), 0);
        assert_eq!(second.write(1, &[misfit(), good(1)]).expect("memory"), 1);
        assert!(second.take_rejected().is_empty(), "they are there already");
        second.commit(2).expect("room");
        assert_eq!((ticks(folder).len(), letters().len()), (3, 2));
        // Another history starts with an empty file.
        open(folder, "2");
        assert!(letters().is_empty());
    }

    #[test]
    fn a_run_goes_on_until_the_next_one_has_begun() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let mut first = open(folder, "1");
        write(&mut first, 0..3);
        first.commit(3).expect("room");
        drop(unfenced(folder, "2"));
        let mut second = unfenced(folder, "1");
        write(&mut first, 3..5);
        first.commit(5).expect("the next one has not begun");
        assert_eq!(ticks(folder), [0, 1, 2, 3, 4]);
        let error = second.fence().expect_err("it would write lines again that are there");
        assert!(matches!(error, SinkError::Fenced { .. }), "{error}");
        assert_eq!(open(folder, "1").upper(), Some(5));
    }
}
