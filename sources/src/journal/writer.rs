//! The writing end of the journal.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::SourceError;
use crate::arrival_clock::ArrivalClock;
use crate::journal::header::Header;
use crate::journal::lock::WriterLock;
use crate::journal::segment::{for_each_entry, remove_segment, scan, segment_path, segments};
use crate::journal::synced_file::SyncedFile;
use crate::journal::{Backlog, JOURNAL_BYTES, Origin, SEGMENT_BYTES, Shared, State};

/// Appends messages.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    file: Arc<SyncedFile>,
    segment_start: u64,
    end: u64,
    /// The number of the next entry.
    number: u64,
    latest_ns: i64,
    clock: ArrivalClock,
    /// The mark of the previous entry.
    last_mark: Option<u64>,
    /// Entries that are not written yet.
    buffer: Vec<u8>,
    segment_bytes: u64,
    journal_bytes: u64,
    _lock: WriterLock,
}

impl Writer {
    pub(super) fn open(folder: &Path, read_up_to: u64) -> io::Result<Self> {
        let lock = WriterLock::take(folder)?;
        let mut segments = segments(folder)?;
        if segments.is_empty() {
            File::create(segment_path(folder, 0))?;
            File::open(folder)?.sync_all()?;
            segments.push_back(0);
        }
        let mut last = None;
        let mut end = 0;
        for start in segments.iter().rev() {
            let tail = scan(&segment_path(folder, *start))?;
            end = end.max(start + tail.n_bytes);
            last = tail.last;
            // A segment without an entry may be the last one.
            if last.is_some() {
                break;
            }
        }
        let segment_start = *segments.back().unwrap_or(&0);
        let end = end.max(segment_start);
        let file = Arc::new(SyncedFile::open(&segment_path(folder, segment_start))?);
        file.file().set_len(end - segment_start)?;
        file.file().seek(SeekFrom::End(0))?;
        let latest_ns = last.map_or(i64::MIN, |header| header.arrived_at_ns);
        let state = State::new(segments, end, latest_ns, Arc::clone(&file));
        let mut writer = Self {
            shared: Arc::new(Shared::new(folder, state)),
            file,
            segment_start,
            end,
            number: last.map_or(0, |header| header.number.saturating_add(1)),
            latest_ns,
            clock: ArrivalClock::after(latest_ns),
            last_mark: last.map(|header| header.origin().mark),
            buffer: Vec::new(),
            segment_bytes: SEGMENT_BYTES,
            journal_bytes: JOURNAL_BYTES,
            _lock: lock,
        };
        writer.begin_behind(read_up_to)?;
        Ok(writer)
    }

    /// Begins a segment at the offset that readers have reached, if the journal ends before it. Otherwise
    /// readers would skip new entries as already read.
    fn begin_behind(&mut self, read_up_to: u64) -> io::Result<()> {
        if read_up_to <= self.end {
            return Ok(());
        }
        let (folder, ends_at) = (self.shared.folder.display(), self.end);
        tracing::error!(
            %folder, ends_at, read_up_to,
            "the journal ends before the saved position; entries behind its end are lost"
        );
        self.end = read_up_to;
        // One number at least is skipped, so that the gap is counted.
        self.skip(1);
        self.begin_segment()?;
        self.shared.lock().end = self.end;
        Ok(())
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[cfg(test)]
    pub(super) fn set_bounds(&mut self, segment_bytes: u64, journal_bytes: u64) {
        (self.segment_bytes, self.journal_bytes) = (segment_bytes, journal_bytes);
    }

    /// The arrival time of a message now, in nanoseconds since the Unix epoch.
    pub(crate) fn now_ns(&mut self) -> i64 {
        self.clock.now_ns()
    }

    /// Buffers a message that arrives now, and returns its offset. [`Writer::write`] writes it.
    pub(crate) fn append(&mut self, origin: Origin, message: &[u8]) -> u64 {
        let now_ns = self.now_ns();
        self.append_at(now_ns, origin, message)
    }

    /// Buffers a message with an arrival time, as [`Writer::append`] does.
    pub(crate) fn append_at(&mut self, now_ns: i64, origin: Origin, message: &[u8]) -> u64 {
        let offset = self.end + self.buffer.len() as u64;
        self.latest_ns = self.latest_ns.max(now_ns);
        let header = Header::of(self.number, self.latest_ns, origin, message);
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(message);
        self.number = self.number.saturating_add(1);
        self.last_mark = Some(origin.mark);
        offset
    }

    /// Counts messages that were lost before they could be appended.
    pub(crate) fn skip(&mut self, n_lost: u64) {
        self.number = self.number.saturating_add(n_lost);
    }

    /// The folder of the journal.
    pub(crate) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// The offset after the latest entry that is written.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The transport's mark of the latest message.
    pub(crate) fn last_mark(&self) -> Option<u64> {
        self.last_mark
    }

    /// Everything before this offset is in every checkpoint that is kept.
    pub(crate) fn done(&self) -> u64 {
        self.shared.lock().done
    }

    /// Passes the entries of earlier runs to `tell`, oldest first: offset, origin and message.
    pub(crate) fn for_each_kept(&self, mut tell: impl FnMut(u64, Origin, &[u8])) -> io::Result<()> {
        let segments = self.shared.lock().segments.clone();
        for start in segments {
            let path = segment_path(&self.shared.folder, start);
            for_each_entry(&path, |at, header, message| {
                tell(start + at, header.origin(), message);
            })?;
        }
        Ok(())
    }

    /// Writes the buffered entries. Unless `backlog` is [`Backlog::More`], later messages arrive at
    /// `now_ns` or later.
    pub(crate) fn write(&mut self, now_ns: i64, backlog: Backlog) -> io::Result<()> {
        let written = self.write_taken();
        if written.is_ok() && backlog != Backlog::More {
            self.latest_ns = self.latest_ns.max(now_ns);
        }
        let mut state = self.shared.lock();
        if written.is_ok() {
            (state.end, state.clock_ns) = (self.end, self.latest_ns);
        }
        state.away = written.is_err() || backlog == Backlog::Unreachable;
        drop(state);
        self.shared.changed.notify_all();
        written
    }

    fn write_taken(&mut self) -> io::Result<()> {
        if self.end - self.segment_start >= self.segment_bytes {
            self.begin_segment()?;
        }
        self.flush()
    }

    /// Makes the buffered entries durable. [`Writer::write`] makes them visible to the reader.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }

    /// True if entries are still buffered because they could not be written.
    pub(crate) fn is_behind(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Writes all buffered entries, or none of them.
    fn flush(&mut self) -> io::Result<()> {
        let mut file = self.file.file();
        if let Err(error) = file.write_all(&self.buffer) {
            let written = self.end - self.segment_start;
            file.set_len(written)?;
            file.seek(SeekFrom::Start(written))?;
            return Err(error);
        }
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// An error of this journal.
    pub(crate) fn failed(&self, source: io::Error) -> SourceError {
        SourceError::Journal { folder: self.shared.folder.clone(), source }
    }

    /// Begins the next segment, and removes the oldest ones if the journal is too large.
    fn begin_segment(&mut self) -> io::Result<()> {
        self.file.sync()?;
        let folder = &self.shared.folder;
        let file = Arc::new(SyncedFile::open(&segment_path(folder, self.end))?);
        file.file().set_len(0)?;
        File::open(folder)?.sync_all()?;
        // Changed only now, so that a failed call can be repeated as a whole.
        (self.file, self.segment_start) = (file, self.end);
        let mut state = self.shared.lock();
        state.segments.push_back(self.end);
        state.file = Arc::clone(&self.file);
        while state.segments.len() > 1 && self.end - state.segments[0] > self.journal_bytes {
            remove_segment(folder, state.segments[0])?;
            state.segments.pop_front();
        }
        Ok(())
    }
}
