//! The reading end of the journal.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::journal::header::{HEADER_BYTES, Header};
use crate::journal::segment::{find_entry, read_at, remove_segment, segment_path};
use crate::journal::{LONGEST_MESSAGE, Origin, Shared};

/// Bytes of one read; the longest entry fits.
const PIECE_BYTES: usize = HEADER_BYTES + LONGEST_MESSAGE;

/// Reads messages that are durable.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// The offset of the next entry.
    at: u64,
    /// Everything before this offset is durable.
    durable: u64,
    /// Messages beyond `durable` arrived at this time or later.
    clock_ns: i64,
    away: bool,
    /// The segment that is open for reading, with its first offset.
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
    /// The offset of the buffer's first byte.
    buffer_at: u64,
    /// The expected number of the next entry, if an entry was read before.
    number: Option<u64>,
    /// True if damage before the next entry was skipped.
    skipped: bool,
}

/// A message in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The offset of this entry; `next` is the offset of the following one.
    pub(crate) offset: u64,
    pub(crate) next: u64,
    pub(crate) arrived_at_ns: i64,
    pub(crate) origin: Origin,
    pub(crate) message: &'a [u8],
    /// Number of lost entries before this one.
    pub(crate) n_lost: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let start = shared.lock().segments[0];
        Self {
            shared,
            at: start,
            durable: start,
            clock_ns: i64::MIN,
            away: false,
            open: None,
            buffer: Vec::new(),
            buffer_at: start,
            number: None,
            skipped: false,
        }
    }

    /// Continues at the offset of an entry.
    pub(crate) fn seek(&mut self, offset: u64) {
        (self.at, self.number, self.skipped) = (offset, None, false);
    }

    /// The offset of the next entry.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    /// Returns the time at or after which all further messages arrive, once all entries are read.
    pub(crate) fn clock_ns(&self) -> Option<i64> {
        (self.at >= self.durable).then_some(self.clock_ns)
    }

    /// True if senders were unreachable or not read at the last [`Reader::sync`].
    pub(crate) fn away(&self) -> bool {
        self.away
    }

    /// Waits for entries, for `patience` at most, and makes all entries durable.
    pub(crate) fn sync(&mut self, patience: Duration) -> io::Result<()> {
        let (end, file) = {
            let nothing = |state: &mut super::State| state.end <= self.at;
            let (state, _) = self
                .shared
                .changed
                .wait_timeout_while(self.shared.lock(), patience, nothing)
                .unwrap_or_else(PoisonError::into_inner);
            (self.clock_ns, self.away) = (state.clock_ns, state.away);
            (state.end, Arc::clone(&state.file))
        };
        if end > self.durable {
            // Segments before the last were synced when they were full.
            file.sync()?;
            self.durable = end;
        }
        Ok(())
    }

    /// Returns the next entry that is durable.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        while self.at < self.durable {
            if !self.is_buffered() {
                self.fill(PIECE_BYTES)?;
            }
            if self.is_buffered() {
                return Ok(self.take());
            }
            self.skip_damage()?;
        }
        Ok(None)
    }

    /// Continues at the next intact entry of the segment, or at the next segment.
    fn skip_damage(&mut self) -> io::Result<()> {
        self.fill(usize::MAX)?;
        let next = find_entry(&self.buffer, 0).map(|start| self.at + start as u64);
        self.at = next.or_else(|| self.next_segment()).unwrap_or(self.durable);
        self.skipped = true;
        Ok(())
    }

    /// The bytes of the buffer from the next entry on.
    fn buffered(&self) -> &[u8] {
        let start = self.at.checked_sub(self.buffer_at).map(|start| start as usize);
        start.and_then(|start| self.buffer.get(start..)).unwrap_or_default()
    }

    fn is_buffered(&self) -> bool {
        Header::decode(self.buffered()).is_some()
    }

    fn take(&mut self) -> Option<Entry<'_>> {
        let offset = self.at;
        let (header, message) = Header::decode(self.buffered())?;
        let next = offset + (HEADER_BYTES + message.len()) as u64;
        // Without a previous entry, the number of skipped entries is unknown: at least one.
        let n_skipped = u64::from(std::mem::take(&mut self.skipped));
        let n_lost = self.number.map_or(n_skipped, |number| header.number.saturating_sub(number));
        (self.number, self.at) = (Some(header.number.saturating_add(1)), next);
        let start = (offset - self.buffer_at) as usize + HEADER_BYTES;
        let message = &self.buffer[start..start + header.n_bytes];
        let (arrived_at_ns, origin) = (header.arrived_at_ns, header.origin());
        Some(Entry { offset, next, arrived_at_ns, origin, message, n_lost })
    }

    /// Reads up to `max_bytes` of the segment from the next entry on.
    fn fill(&mut self, max_bytes: usize) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.shrink_to(PIECE_BYTES);
        self.buffer_at = self.at;
        let Some((start, end)) = self.segment() else { return Ok(()) };
        if self.open.as_ref().is_none_or(|(open, _)| *open != start) {
            match File::open(segment_path(&self.shared.folder, start)) {
                Ok(file) => self.open = Some((start, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let Some((_, file)) = &self.open else { return Ok(()) };
        // A segment may end before the next one begins.
        let n_bytes = end.min(start + file.metadata()?.len()).saturating_sub(self.at);
        let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX).min(max_bytes);
        self.buffer.resize(n_bytes, 0);
        read_at(file, &mut self.buffer, self.at - start)
    }

    /// Returns the bounds of the segment of the next entry, up to the durable end.
    fn segment(&self) -> Option<(u64, u64)> {
        let state = self.shared.lock();
        let behind = state.segments.partition_point(|start| *start <= self.at);
        let start = *state.segments.get(behind.checked_sub(1)?)?;
        let end = state.segments.get(behind).copied().unwrap_or(self.durable);
        Some((start, end.min(self.durable)))
    }

    fn next_segment(&self) -> Option<u64> {
        let segments = &self.shared.lock().segments;
        segments.get(segments.partition_point(|start| *start <= self.at)).copied()
    }

    /// Records that everything before an offset is in checkpoints, and removes segments. One of these
    /// segments stays: it identifies messages that a broker sends again because their acknowledgement was
    /// late.
    pub(crate) fn trim(&self, offset: u64) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.done = offset;
        while state.segments.len() > 2 && state.segments[2] <= offset {
            remove_segment(&self.shared.folder, state.segments[0])?;
            state.segments.pop_front();
        }
        Ok(())
    }
}
