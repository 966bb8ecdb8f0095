//! What a receiver has put in a journal, or had: messages by the time they came in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::{SourceKind, Tick};

use crate::aligned::JITTER_NS;
use crate::journal::{self, Reader};
use crate::transport::messages::Messages;
use crate::transport::silent::Silent;
use crate::transport::{Clock, Ingress};
use crate::{Poll, Source, SourceError};

/// How long to wait for a message before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages taken in one poll at most.
const MESSAGES_PER_POLL: usize = 256;
/// From the journal, or before: the system had no room for them.
const LOST: &str = "lost before it was read";

/// Reads a journal.
pub(super) struct Journaled {
    folder: PathBuf,
    reader: Reader,
    messages: Messages,
    messages_per_poll: usize,
    /// True if messages are stamped with the time they came in, rather than their own.
    arrival: bool,
    /// How far before the time it came in a message may be stamped.
    jitter_ns: i64,
    silent: Silent,
    /// True if nobody writes to it.
    recording: bool,
}

impl Journaled {
    /// Reads what a receiver writes.
    pub(super) fn new(
        folder: &Path,
        reader: Reader,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        Self::open(folder.to_owned(), reader, MESSAGES_PER_POLL, SourceKind::Live, ingress)
    }

    /// Reads what was recorded earlier.
    pub(super) fn recorded(
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
        let arrival = ingress.clock != Some(Clock::Device);
        // Who is there is told by the time that frames come in.
        let (messages, offset) = Messages::open(ingress, kind, "", arrival)?;
        reader.seek(offset.unwrap_or_else(|| reader.offset()));
        Ok(Self {
            folder,
            reader,
            messages,
            messages_per_poll,
            arrival,
            jitter_ns: if ingress.clock == Some(Clock::Aligned) { JITTER_NS } else { 0 },
            silent: Silent::open(ingress, "")?,
            recording: kind == SourceKind::Replay,
        })
    }

    /// All that came in before a time is read.
    fn catch_up(&mut self, clock_ns: i64) -> Result<(), SourceError> {
        if self.arrival {
            // Nothing can come in before it any more.
            let clock_ns = clock_ns.saturating_sub(self.jitter_ns);
            self.messages.tell_silences(clock_ns);
            self.messages.intake.advance_to(clock_ns);
            self.messages.mark();
            return Ok(());
        }
        if self.reader.away() {
            self.silent.unknown();
            return Ok(());
        }
        self.silent.asked();
        match self.silent.due(&self.messages) {
            Some(silence) => self.silent.keep(silence, &mut self.messages),
            None => Ok(()),
        }
    }
}

impl Source for Journaled {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        let failed = |source| SourceError::Journal { folder: self.folder.clone(), source };
        let patience = if self.recording { Duration::ZERO } else { PATIENCE };
        self.reader.sync(patience).map_err(failed)?;
        while self.messages.intake.len() < self.messages_per_poll {
            let Some(entry) = self.reader.next().map_err(failed)? else { break };
            if entry.n_lost > 0 {
                // Who sent them is lost, too.
                self.messages.intake.set_sender(None);
                self.messages.intake.drop_records(LOST, entry.n_lost, entry.offset);
            }
            self.messages.tell_silences(entry.arrived_at_ns.saturating_sub(self.jitter_ns));
            self.messages.intake.set_arrival(entry.arrived_at_ns);
            self.messages.intake.set_sender(entry.origin.sender);
            self.silent.heard(entry.offset, &mut self.messages);
            self.messages.decode(entry.offset, entry.next, entry.message)?;
        }
        let Some(clock_ns) = self.reader.clock_ns() else { return Ok(self.messages.intake.take()) };
        if self.recording {
            return Ok(self.messages.finish());
        }
        self.catch_up(clock_ns)?;
        Ok(self.messages.intake.take())
    }

    fn done_with(&mut self, tick: Tick) -> Result<(), SourceError> {
        let Some(offset) = self.messages.needed(tick).filter(|_| !self.recording) else {
            return Ok(());
        };
        let failed = |source| SourceError::Journal { folder: self.folder.clone(), source };
        self.reader.trim(offset).map_err(failed)
    }
}

impl fmt::Debug for Journaled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journaled").field("folder", &self.folder).finish_non_exhaustive()
    }
}
