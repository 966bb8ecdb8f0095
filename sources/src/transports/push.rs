//! Push transports: messages arrive once and cannot be read again, so they are recorded in a journal.

use std::fmt;

use crate::journal::{Backlog, Writer};
use crate::{Receiver, SourceError};

/// A transport whose peers send without a request.
pub(super) trait PushTransport: Send {
    /// Appends the messages that have arrived since the last call to the journal. Waits a moment at most.
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
        // Read before the transport, so that every message up to this time is recorded.
        let now_ns = self.journal.now_ns();
        // While the disk is full, the recorder reads no messages: senders must wait, or lose them.
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
