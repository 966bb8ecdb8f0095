//! A partition whose messages carry their own time, when none come: its clock follows the wall clock. Where
//! all partitions of a run count from when their devices were started, it goes on at the pace of time.
//!
//! A partition is idle if it was asked and had nothing, not if it could not be asked.
//!
//! A clock that a wrong time has moved ahead of the host's makes all that follows late. It then moves by one
//! tick a second, so that late records leave, until the host's clock has caught up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use schemas::Tick;

use crate::arrival_clock::{ArrivalClock, unix_ns};
use crate::partitions::decision::PartitionDecisions;
use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::PartitionDecoder;
use crate::{Decision, DecisionKind, Share, SourceError};

/// Times before the year 2000 are not of a calendar: such a clock counts since its device was started.
const FIRST_CALENDAR_MS: Tick = 946_684_800_000;
const NS_PER_MS: i64 = 1_000_000;
/// The interval at which late records leave while a clock is ahead of the host's.
const STEP_INTERVAL: Duration = Duration::from_secs(1);

/// For how long a partition has been idle.
pub(crate) struct Idleness {
    decisions: PartitionDecisions,
    timeout: Duration,
    clock: ArrivalClock,
    /// The clock of the run's partition that is the furthest.
    furthest: Arc<AtomicU64>,
    idle: Option<Idle>,
    /// True if people know that the clock is ahead.
    warned: bool,
    /// True if no other process has partitions of the source.
    is_whole: bool,
}

/// Since when there was nothing more to read that moved a partition's clock.
#[derive(Clone, Copy)]
struct Idle {
    since: Instant,
    /// When its clock was moved the last time, or found to stand still.
    moved_at: Instant,
    clock: Tick,
    /// The offset by then.
    offset: u64,
}

/// Why a partition's clock is to move.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    /// Nothing has come that moves it.
    Idle {
        decision: Decision,
        /// Since this moment at least.
        moved_at: Instant,
        /// When that was found.
        due_at: Instant,
    },
    /// It is ahead of the host's clock: it moves by one tick, so that late records leave.
    Step(Decision),
}

impl Idleness {
    pub(crate) fn new(ingress: &Ingress<'_>, partition: &str) -> Self {
        let context = ingress.context;
        Self {
            decisions: PartitionDecisions::new(context, partition),
            timeout: Duration::from_millis(ingress.idle_timeout_ms.into()),
            clock: ArrivalClock::after(i64::MIN),
            furthest: Arc::clone(context.furthest),
            idle: None,
            warned: false,
            is_whole: context.share == Share::ALL,
        }
    }

    /// For another partition of the source, about which nothing was decided yet.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        Self {
            decisions: self.decisions.for_partition(partition),
            timeout: self.timeout,
            clock: self.clock,
            furthest: Arc::clone(&self.furthest),
            idle: None,
            warned: false,
            is_whole: self.is_whole,
        }
    }

    /// A message comes: repeats what earlier runs decided before it. True if they refused it.
    pub(crate) fn heard(
        &mut self,
        offset: u64,
        messages: &mut PartitionDecoder,
    ) -> Result<bool, SourceError> {
        let mut refused = false;
        while let Some(decision) = self.decisions.replay(offset)? {
            refused = decision.kind == DecisionKind::Refused && decision.offset == offset;
            messages.collector.advance_to_tick(decision.clock);
            messages.record_position();
        }
        Ok(refused)
    }

    /// Stores that a message is refused.
    pub(crate) fn refuse(
        &self,
        offset: u64,
        messages: &PartitionDecoder,
    ) -> Result<(), SourceError> {
        let (clock, kind) = (messages.collector.clock(), DecisionKind::Refused);
        self.decisions.store(Decision { offset, clock, kind })
    }

    /// Reports how far the partition is to the others of the run.
    pub(crate) fn publish(&self, messages: &PartitionDecoder) {
        self.furthest.fetch_max(messages.collector.clock(), Ordering::Relaxed);
    }

    /// The reader has no more messages for now. Messages count only if they moved the clock: a partition whose
    /// records are all bad or late must not delay the watermark.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn asked(&mut self, messages: &PartitionDecoder) {
        let clock = messages.collector.clock();
        if self.idle.is_none_or(|idle| idle.clock != clock) {
            let (now, offset) = (Instant::now(), messages.offset());
            self.idle = Some(Idle { since: now, moved_at: now, clock, offset });
        }
    }

    /// The reader cannot tell whether there are messages: earlier answers do not count.
    pub(crate) fn unknown(&mut self) {
        self.idle = None;
    }

    /// The move of the clock that is due, if no message has moved it for long enough.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn due(&mut self, messages: &PartitionDecoder) -> Option<Due> {
        // If the clock has moved since, the partition was not idle.
        let idle = self.idle.filter(|idle| idle.clock == messages.collector.clock())?;
        let furthest = self.furthest.load(Ordering::Relaxed);
        let due_at = Instant::now();
        let idle_for = due_at.saturating_duration_since(idle.since);
        if furthest == 0 && self.is_whole {
            // No partition has a time yet, so that none waits for another; but errors do.
            let errors_wait = messages.collector.has_open() && idle_for > self.timeout;
            return errors_wait
                .then(|| Due::Step(idle_at(messages, messages.collector.next_tick())));
        }
        let host_clock = messages.collector.tick_of(unix_ns(SystemTime::now()));
        let is_ahead = furthest >= FIRST_CALENDAR_MS && idle.clock > host_clock;
        if is_ahead && messages.offset() > idle.offset {
            let next = messages.collector.next_tick();
            idle_for.checked_sub(STEP_INTERVAL.max(Duration::from_millis(next - idle.clock)))?;
            self.warn_of_clock(idle.clock - host_clock);
            return Some(Due::Step(idle_at(messages, next)));
        }
        let timed_out_for = idle_for.checked_sub(self.timeout)?;
        let clock_ns = if (1..FIRST_CALENDAR_MS).contains(&furthest) {
            // A clock at zero has not been told any time yet.
            let started = if idle.clock > 0 { idle.clock } else { furthest };
            started.cast_signed() * NS_PER_MS + as_ns(timed_out_for)
        } else if is_ahead {
            // The host's clock tells nothing: no further than where others are.
            furthest.cast_signed().saturating_mul(NS_PER_MS).saturating_sub(as_ns(self.timeout))
        } else {
            self.clock.now_ns().saturating_sub(as_ns(self.timeout))
        };
        let leaves = messages.collector.leaves_granule(clock_ns);
        let clock = messages.collector.tick_of(clock_ns);
        let (decision, moved_at) = (idle_at(messages, clock), idle.moved_at);
        leaves.then_some(Due::Idle { decision, moved_at, due_at })
    }

    /// Warns once that records are late, and for how long they will be.
    fn warn_of_clock(&mut self, ahead_ms: Tick) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                source = self.decisions.source(),
                partition = self.decisions.partition(),
                ahead_s = ahead_ms / 1000,
                "a record or the host's clock was ahead: until that time is reached, records are late"
            );
        }
    }

    /// Moves the clock when that is due. An idle partition goes on from there as time goes on.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn keep(
        &mut self,
        due: Due,
        messages: &mut PartitionDecoder,
    ) -> Result<(), SourceError> {
        let (Due::Idle { decision, .. } | Due::Step(decision)) = due;
        self.begin(decision.clock, messages)?;
        let moved_at = Instant::now();
        let since = match due {
            Due::Idle { due_at, .. } => due_at.checked_sub(self.timeout).unwrap_or(due_at),
            Due::Step(_) => moved_at,
        };
        let (clock, offset) = (messages.collector.clock(), messages.offset());
        self.idle = Some(Idle { since, moved_at, clock, offset });
        Ok(())
    }

    /// Moves the clock, once that is durable.
    pub(crate) fn begin(
        &self,
        clock: Tick,
        messages: &mut PartitionDecoder,
    ) -> Result<(), SourceError> {
        self.decisions.store(idle_at(messages, clock))?;
        messages.collector.advance_to_tick(clock);
        messages.record_position();
        Ok(())
    }
}

/// The partition is idle before the message that is not read yet.
fn idle_at(messages: &PartitionDecoder, clock: Tick) -> Decision {
    Decision { offset: messages.offset(), clock, kind: DecisionKind::Idle }
}

fn as_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
