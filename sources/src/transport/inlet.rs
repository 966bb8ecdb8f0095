//! What takes in messages over a transport that cannot be asked again, and puts them in a journal.

use std::fmt;
use std::time::SystemTime;

use crate::journal::{Beyond, Writer};
use crate::transport::unix_ns;
use crate::{Receiver, SourceError};

/// The side of a transport that messages come out of.
pub(super) trait Inlet: Send {
    /// Appends what has come in since the last call to the journal; waits for it for a moment at most.
    fn take(&mut self, journal: &mut Writer) -> Result<Beyond, SourceError>;
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
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = unix_ns(SystemTime::now());
        let beyond = self.inlet.take(&mut self.journal)?;
        let written = self.journal.write(now_ns, beyond);
        written.map_err(|source| self.journal.failed(source))
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Filling").field("journal", &self.journal).finish_non_exhaustive()
    }
}
