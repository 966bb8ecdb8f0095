//! What takes in messages over a transport that cannot be asked again, and puts them in a journal.

use std::fmt;

use crate::journal::{Beyond, Writer};
use crate::{Receiver, SourceError};

/// The side of a transport that messages come out of.
pub(super) trait Inlet: Send {
    /// Appends what has come in since the last call to the journal; waits for it for a moment at most.
    fn take(&mut self, journal: &mut Writer) -> Result<Beyond, SourceError>;

    /// Names whoever sends, where that is one that can be away.
    fn peer(&self) -> String {
        String::new()
    }
}

/// Fills a journal from an inlet.
pub(super) struct Filling {
    inlet: Box<dyn Inlet>,
    journal: Writer,
}

impl Filling {
    pub(super) fn new(inlet: Box<dyn Inlet>, journal: Writer) -> Self {
        Self { inlet, journal }
    }
}

impl Receiver for Filling {
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = self.journal.now_ns();
        // While the disk is full nothing more is taken: whoever sends has to wait, or loses it.
        let beyond = if self.journal.is_behind() {
            Beyond::More
        } else {
            self.inlet.take(&mut self.journal)?
        };
        let written = self.journal.write(now_ns, beyond);
        written.map_err(|source| self.journal.failed(source))?;
        if beyond == Beyond::Away {
            return Err(SourceError::Away { peer: self.inlet.peer() });
        }
        Ok(())
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Filling").field("journal", &self.journal).finish_non_exhaustive()
    }
}
