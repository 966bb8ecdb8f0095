//! What a receiver has put in a journal, or had: messages by the time they came in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::{SourceKind, Tick};

use crate::journal::{self, Reader};
use crate::transport::Ingress;
use crate::transport::messages::Messages;
use crate::{Poll, Source, SourceError};

/// How long to wait for a message before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
const LOST: &str = "lost from the journal";

/// Reads a journal.
pub(super) struct Journaled {
    folder: PathBuf,
    reader: Reader,
    messages: Messages,
    messages_per_poll: usize,
    /// True if nobody writes to it.
    recording: bool,
}

impl Journaled {
    /// Reads what a receiver writes.
    pub(super) fn new(
        folder: &Path,
        mut reader: Reader,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let (messages, offset) = Messages::open(ingress, SourceKind::Live, "")?;
        reader.seek(offset.unwrap_or_else(|| reader.offset()));
        let folder = folder.to_owned();
        Ok(Self { folder, reader, messages, messages_per_poll: 256, recording: false })
    }

    /// Reads what was recorded earlier.
    pub(super) fn recorded(
        folder: PathBuf,
        messages_per_poll: usize,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let mut reader = match journal::open_recording(&folder) {
            Ok(reader) => reader,
            Err(source) => return Err(SourceError::Read { path: folder, source }),
        };
        let (messages, offset) = Messages::open(ingress, SourceKind::Replay, "")?;
        reader.seek(offset.unwrap_or_else(|| reader.offset()));
        Ok(Self { folder, reader, messages, messages_per_poll, recording: true })
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
                self.messages.intake.drop_records(LOST, entry.n_lost, entry.offset);
            }
            self.messages.intake.set_arrival(entry.arrived_at_ns);
            self.messages.decode(entry.offset, entry.next, entry.message);
        }
        let Some(clock_ns) = self.reader.clock_ns() else { return Ok(self.messages.intake.take()) };
        if self.recording {
            return Ok(self.messages.finish());
        }
        // All that came in before is read: nothing can come in before it any more.
        self.messages.intake.advance_to(clock_ns);
        self.messages.mark();
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
