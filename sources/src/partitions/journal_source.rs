//! Reads the messages of a journal or a recording, with their arrival times.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::{SourceKind, Tick};

use crate::journal::{self, Reader};
use crate::partitions::device_demux::DeviceDemux;
use crate::partitions::idleness::Idleness;
use crate::partitions::ingress::Ingress;
use crate::{Poll, Source, SourceError};

/// Time-out of a poll for messages.
const PATIENCE: Duration = Duration::from_millis(20);
/// Maximum number of messages in one poll.
const MESSAGES_PER_POLL: usize = 256;

/// A source that reads a journal.
pub(crate) struct JournalSource {
    folder: PathBuf,
    reader: Reader,
    demux: DeviceDemux,
    idleness: Idleness,
    messages_per_poll: usize,
    /// True if no process writes to the journal.
    recording: bool,
}

impl JournalSource {
    /// Reads a journal while a receiver writes to it.
    pub(crate) fn new(
        folder: &Path,
        reader: Reader,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        Self::open(folder.to_owned(), reader, MESSAGES_PER_POLL, SourceKind::Live, ingress)
    }

    /// Reads a journal that was recorded earlier.
    pub(crate) fn recorded(
        folder: PathBuf,
        messages_per_poll: usize,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let reader = match journal::open_recording(&folder) {
            Ok(reader) => reader,
            Err(source) => return Err(SourceError::Read { path: folder, source }),
        };
        Self::open(folder, reader, messages_per_poll, SourceKind::Replay, ingress)
    }

    fn open(
        folder: PathBuf,
        mut reader: Reader,
        messages_per_poll: usize,
        kind: SourceKind,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let demux = DeviceDemux::open(ingress, kind, reader.offset())?;
        reader.seek(demux.offset());
        let idleness = Idleness::new(ingress, "");
        let recording = kind == SourceKind::Replay;
        Ok(Self { folder, reader, demux, idleness, messages_per_poll, recording })
    }

    /// Reads the available messages, and waits up to `PATIENCE` for the first one.
    fn take(&mut self) -> Result<(), SourceError> {
        let failed = |source| SourceError::Journal { folder: self.folder.clone(), source };
        let patience = if self.recording { Duration::ZERO } else { PATIENCE };
        self.reader.sync(patience).map_err(failed)?;
        let mut n_taken = 0;
        while n_taken < self.messages_per_poll {
            let Some(entry) = self.reader.next().map_err(failed)? else { break };
            let offset = entry.offset;
            if let Some(messages) = self.demux.timed() {
                self.idleness.heard(offset, messages)?;
            }
            match self.demux.take(&entry) {
                Ok(n_records) => n_taken += n_records.max(1),
                Err(error) => {
                    // The message is read again after the outage.
                    self.reader.seek(offset);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Advances the clock with the wall clock if no messages arrive and clocks follow the messages' own
    /// times. The caller has read all messages.
    fn follow_wall_clock(&mut self) -> Result<(), SourceError> {
        let Some(messages) = self.demux.timed() else { return Ok(()) };
        if self.reader.away() {
            self.idleness.unknown();
            return Ok(());
        }
        self.idleness.asked(messages);
        match self.idleness.due(messages) {
            Some(due) => self.idleness.keep(due, messages),
            None => Ok(()),
        }
    }
}

impl Source for JournalSource {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        self.take()?;
        let clock_ns = self.reader.clock_ns();
        self.demux.taken_to(self.reader.offset(), clock_ns);
        if clock_ns.is_some() {
            if self.recording {
                return Ok(self.demux.finish());
            }
            self.follow_wall_clock()?;
        }
        Ok(self.demux.poll())
    }

    fn checkpointed_through(&mut self, tick: Tick) -> Result<(), SourceError> {
        let Some(offset) = self.demux.needed(tick).filter(|_| !self.recording) else {
            return Ok(());
        };
        let failed = |source| SourceError::Journal { folder: self.folder.clone(), source };
        self.reader.trim(offset).map_err(failed)
    }
}

impl fmt::Debug for JournalSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JournalSource")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
