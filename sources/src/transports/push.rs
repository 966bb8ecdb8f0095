//! Push transports: messages come once and cannot be read again, so they are recorded in a journal.

use std::fmt;

use crate::journal::{Backlog, Writer};
use crate::{Receiver, SourceError};

/// A transport whose peers send without being asked.
pub(super) trait PushTransport: Send {
    /// Appends what has come in since the last call to the journal; waits for it for a moment at most.
    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError>;

    /// The name of the peer, for transports with one peer that may be unreachable.
    fn peer(&self) -> String {
        String::new()
    }
}

/// Records the messages of a transport in a journal.
pub(super) struct JournalRecorder {
    transport: Box<dyn PushTransport>,
    journal: Writer,
}

impl JournalRecorder {
    pub(super) fn new(transport: Box<dyn PushTransport>, journal: Writer) -> Self {
        Self { transport, journal }
    }
}

impl Receiver for JournalRecorder {
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = self.journal.now_ns();
        // While the disk is full nothing more is taken: whoever sends has to wait, or loses it.
        let backlog = if self.journal.is_behind() {
            Backlog::More
        } else {
            self.transport.take(&mut self.journal)?
        };
        let written = self.journal.write(now_ns, backlog);
        written.map_err(|source| self.journal.failed(source))?;
        if backlog == Backlog::Unreachable {
            return Err(SourceError::Away { peer: self.transport.peer() });
        }
        Ok(())
    }
}

impl fmt::Debug for JournalRecorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JournalRecorder")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
