//! A partition whose messages carry their own time, when none come: its clock follows the wall clock.
//!
//! Silent is who was asked and had nothing, not who could not be asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::transport::messages::Messages;
use crate::transport::{Ingress, unix_ns};
use crate::{Silence, Silences, SourceError};

/// For how long nothing has come.
pub(super) struct Silent {
    silences: Arc<dyn Silences>,
    source: String,
    partition: String,
    timeout: Duration,
    /// Since when there was nothing more to read.
    since: Option<Instant>,
    /// Silences of an earlier run that are still ahead.
    kept: VecDeque<Silence>,
}

impl Silent {
    pub(super) fn open(ingress: &Ingress<'_>, partition: &str) -> Result<Self, SourceError> {
        let context = ingress.context;
        Ok(Self {
            silences: Arc::clone(context.silences),
            source: context.name.to_owned(),
            partition: partition.to_owned(),
            timeout: Duration::from_millis(ingress.idle_timeout_ms.into()),
            since: None,
            kept: context.silences.kept(context.name, partition)?.into(),
        })
    }

    /// A message comes: repeats what is known of the time before it.
    pub(super) fn heard(&mut self, offset: u64, messages: &mut Messages) {
        self.since = None;
        while let Some(silence) = self.kept.pop_front_if(|silence| silence.offset <= offset) {
            messages.intake.advance_to_tick(silence.clock);
            messages.mark();
        }
    }

    /// There is nothing more to read now.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(super) fn asked(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Nobody knows whether there is something to read: what was asked before does not count.
    pub(super) fn unknown(&mut self) {
        self.since = None;
    }

    /// What is to be kept when nothing has come for long enough.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(super) fn due(&self, messages: &Messages) -> Option<Silence> {
        self.since.filter(|since| since.elapsed() >= self.timeout)?;
        let clock_ns = unix_ns(SystemTime::now()) - self.timeout.as_nanos() as i64;
        let leaves = messages.intake.leaves_granule(clock_ns);
        let clock = messages.intake.tick_of(clock_ns);
        leaves.then(|| Silence { offset: messages.offset(), clock })
    }

    /// Moves the clock, once that is durable.
    pub(super) fn keep(
        &self,
        silence: Silence,
        messages: &mut Messages,
    ) -> Result<(), SourceError> {
        self.silences.keep(&self.source, &self.partition, silence)?;
        messages.intake.advance_to_tick(silence.clock);
        messages.mark();
        Ok(())
    }
}
