//! Idle partitions whose messages have their own times: the partition's clock follows the wall clock. If
//! all partitions of a run count from the start of their devices, the clock advances at the rate of real
//! time.
//!
//! A partition is idle if it was polled and had no messages, not if it could not be polled.
//!
//! A wrong time may move a clock ahead of the host's clock, and then all following records are late. The
//! clock then advances by one tick a second, so that late records are emitted, until the host's clock has
//! caught up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use schemas::Tick;

use crate::arrival_clock::{ArrivalClock, unix_ns};
use crate::partitions::decision::PartitionDecisions;
use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::PartitionDecoder;
use crate::{Decision, DecisionKind, Share, SourceError};

/// Times before the year 2000 are not calendar times: such a clock counts from the start of its device.
const FIRST_CALENDAR_MS: Tick = 946_684_800_000;
const NS_PER_MS: i64 = 1_000_000;
/// The interval at which late records are emitted while a clock is ahead of the host's.
const STEP_INTERVAL: Duration = Duration::from_secs(1);

/// The idle state of a partition.
pub(crate) struct Idleness {
    decisions: PartitionDecisions,
    timeout: Duration,
    clock: ArrivalClock,
    /// The latest clock of the run's partitions.
    furthest: Arc<AtomicU64>,
    idle: Option<Idle>,
    /// True if a warning that the clock is ahead was logged.
    warned: bool,
    /// True if no other process has partitions of the source.
    is_whole: bool,
}

/// An idle period: no message has advanced the partition's clock.
#[derive(Clone, Copy)]
struct Idle {
    since: Instant,
    /// When the clock was last advanced, or found to stand still.
    moved_at: Instant,
    clock: Tick,
    /// The offset at that time.
    offset: u64,
}

/// An advance of a partition's clock that is due.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    /// No message has advanced the clock for the idle time-out.
    Idle {
        decision: Decision,
        /// The clock has not advanced since this time at least.
        moved_at: Instant,
        /// When the idle time-out was detected.
        due_at: Instant,
    },
    /// The clock advances by one tick, so that late records or errors are emitted.
    Step(Decision),
}

impl Idleness {
    pub(crate) fn new(ingress: &Ingress<'_>, partition: &str) -> Self {
        let context = ingress.context;
        Self {
            decisions: PartitionDecisions::new(context, partition),
            timeout: ingress.idle_timeout.into(),
            clock: ArrivalClock::after(i64::MIN),
            furthest: Arc::clone(context.furthest),
            idle: None,
            warned: false,
            is_whole: context.share == Share::ALL,
        }
    }

    /// The state of a new partition of the source, without decisions so far.
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

    /// Repeats the decisions of earlier runs up to a message. Returns true if they refused the message.
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

    /// Stores the decision that a message is refused.
    pub(crate) fn refuse(
        &self,
        offset: u64,
        messages: &PartitionDecoder,
    ) -> Result<(), SourceError> {
        let (clock, kind) = (messages.collector.clock(), DecisionKind::Refused);
        self.decisions.store(Decision { offset, clock, kind })
    }

    /// Reports the partition's clock to the other partitions of the run.
    pub(crate) fn publish(&self, messages: &PartitionDecoder) {
        self.furthest.fetch_max(messages.collector.clock(), Ordering::Relaxed);
    }

    /// Records that the reader has no more messages for now. Messages count only if they advanced the
    /// clock: a partition whose records are all bad or late must not delay the watermark.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn asked(&mut self, messages: &PartitionDecoder) {
        let clock = messages.collector.clock();
        if self.idle.is_none_or(|idle| idle.clock != clock) {
            let (now, offset) = (Instant::now(), messages.offset());
            self.idle = Some(Idle { since: now, moved_at: now, clock, offset });
        }
    }

    /// Ends the idle period, because the reader cannot determine whether there are messages.
    pub(crate) fn unknown(&mut self) {
        self.idle = None;
    }

    /// Returns the advance of the clock that is due, if no message has advanced it for long enough.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn due(&mut self, messages: &PartitionDecoder) -> Option<Due> {
        // If the clock has moved since, the partition was not idle.
        let idle = self.idle.filter(|idle| idle.clock == messages.collector.clock())?;
        let furthest = self.furthest.load(Ordering::Relaxed);
        let due_at = Instant::now();
        let idle_for = due_at.saturating_duration_since(idle.since);
        if furthest == 0 && self.is_whole {
            // No partition has a time yet, so none delays another; but errors may be pending.
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
            // A clock at zero has received no time yet.
            let started = if idle.clock > 0 { idle.clock } else { furthest };
            started.cast_signed() * NS_PER_MS + as_ns(timed_out_for)
        } else if is_ahead {
            // The host's clock is not usable here: the latest clock of the partitions is the limit.
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

    /// Performs an advance that is due. The idle period continues from there.
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

    /// Stores an advance of the clock, and then performs it.
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

/// The decision that the partition is idle before its next unread message.
fn idle_at(messages: &PartitionDecoder, clock: Tick) -> Decision {
    Decision { offset: messages.offset(), clock, kind: DecisionKind::Idle }
}

fn as_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
