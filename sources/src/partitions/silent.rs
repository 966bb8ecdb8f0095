//! A partition whose messages carry their own time, when none come: its clock follows the wall clock. Where
//! all partitions of a run count from when their devices were started, it goes on at the pace of time.
//!
//! Silent is who was asked and had nothing, not who could not be asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schemas::Tick;

use crate::arrival_clock::ArrivalClock;
use crate::partitions::ingress::Ingress;
use crate::partitions::messages::Messages;
use crate::{Share, Silence, Silences, SourceError};

/// Times before the year 2000 are not of a calendar: such a clock counts since its device was started.
const FIRST_CALENDAR_MS: Tick = 946_684_800_000;
const NS_PER_MS: i64 = 1_000_000;

/// For how long nothing has come.
pub(crate) struct Silent {
    silences: Arc<dyn Silences>,
    source: String,
    partition: String,
    timeout: Duration,
    clock: ArrivalClock,
    /// The clock of the run's partition that is the furthest.
    furthest: Arc<AtomicU64>,
    /// Since when there was nothing more to read that moved the partition's clock, and where that was.
    since: Option<(Instant, Tick)>,
    /// True if no other process has partitions of the source.
    is_whole: bool,
    /// Silences of an earlier run that are still ahead.
    kept: VecDeque<Silence>,
}

impl Silent {
    pub(crate) fn open(ingress: &Ingress<'_>, partition: &str) -> Result<Self, SourceError> {
        let context = ingress.context;
        Ok(Self {
            silences: Arc::clone(context.silences),
            source: context.name.to_owned(),
            partition: partition.to_owned(),
            timeout: Duration::from_millis(ingress.idle_timeout_ms.into()),
            clock: ArrivalClock::after(i64::MIN),
            furthest: Arc::clone(context.furthest),
            since: None,
            is_whole: context.share == Share::ALL,
            kept: context.silences.kept(context.name, partition)?.into(),
        })
    }

    /// For another partition, of which nothing was kept.
    pub(crate) fn beside(&self, partition: &str) -> Self {
        Self {
            silences: Arc::clone(&self.silences),
            source: self.source.clone(),
            partition: partition.to_owned(),
            furthest: Arc::clone(&self.furthest),
            since: None,
            kept: VecDeque::new(),
            ..*self
        }
    }

    /// A message comes: repeats what is known of the time before it.
    pub(crate) fn heard(&mut self, offset: u64, messages: &mut Messages) {
        while let Some(silence) = self.kept.pop_front_if(|silence| silence.offset <= offset) {
            messages.intake.advance_to_tick(silence.clock);
            messages.mark();
        }
    }

    /// There is nothing more to read now. What came counts only if it moved the clock: a partition whose
    /// records are all bad or late must not hold back others.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn asked(&mut self, messages: &Messages) {
        let clock = messages.intake.clock();
        if self.since.is_none_or(|(_, then)| then != clock) {
            self.since = Some((Instant::now(), clock));
        }
    }

    /// Nobody knows whether there is something to read: what was asked before does not count.
    pub(crate) fn unknown(&mut self) {
        self.since = None;
    }

    /// What is to be kept when nothing has come for long enough.
    pub(crate) fn due(&mut self, messages: &Messages) -> Option<Silence> {
        let (since, clock_then) = self.since?;
        let idle_for = since.elapsed().checked_sub(self.timeout)?;
        let furthest = self.furthest.load(Ordering::Relaxed);
        if furthest == 0 && self.is_whole {
            // No partition has a time yet, so that none waits for another.
            return None;
        }
        let clock_ns = if (1..FIRST_CALENDAR_MS).contains(&furthest) {
            // A clock at zero has not been told any time yet.
            let started = if clock_then > 0 { clock_then } else { furthest };
            started.cast_signed() * NS_PER_MS + as_ns(idle_for)
        } else {
            self.clock.now_ns().saturating_sub(as_ns(self.timeout))
        };
        let leaves = messages.intake.leaves_granule(clock_ns);
        let clock = messages.intake.tick_of(clock_ns);
        leaves.then(|| Silence { offset: messages.offset(), clock })
    }

    /// Moves the clock, once that is durable.
    pub(crate) fn keep(
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

fn as_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
