//! The clock of arrival times: the host's clock, but it neither goes back nor stands still.
//!
//! A host's clock may be set back, by hand or by NTP. Arrival times then continue from the latest one, a
//! little slower than real time, until the host's clock has caught up.

use std::time::{Instant, SystemTime};

/// While it is ahead of the host's clock, it is slower than real time by one part in this many.
const SLEW: i64 = 16;

/// The time of arrival, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArrivalClock {
    latest_ns: i64,
    read_at: Instant,
}

impl ArrivalClock {
    /// A clock that continues from `latest_ns`.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn after(latest_ns: i64) -> Self {
        Self { latest_ns, read_at: Instant::now() }
    }

    /// Returns the current time, never before one that it returned earlier.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    pub(crate) fn now_ns(&mut self) -> i64 {
        let now = Instant::now();
        let elapsed_ns = now.duration_since(self.read_at).as_nanos();
        let elapsed_ns = i64::try_from(elapsed_ns).unwrap_or(i64::MAX);
        self.latest_ns = next_ns(self.latest_ns, elapsed_ns, unix_ns(SystemTime::now()));
        self.read_at = now;
        self.latest_ns
    }
}

/// The time `elapsed_ns` after `latest_ns`, when the host's clock shows `host_ns`.
fn next_ns(latest_ns: i64, elapsed_ns: i64, host_ns: i64) -> i64 {
    host_ns.max(latest_ns.saturating_add(elapsed_ns - elapsed_ns / SLEW))
}

/// Nanoseconds since the Unix epoch; 0 for a time before it.
pub(crate) fn unix_ns(now: SystemTime) -> i64 {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_host_clock_that_steps_back_is_caught_up_with() {
        let mut latest_ns = 1000 * S;
        assert_eq!(next_ns(latest_ns, S, 1001 * S), 1001 * S, "it follows the host's clock");
        assert_eq!(next_ns(latest_ns, S, 9000 * S), 9000 * S, "forward at once");
        // Back by a minute.
        let mut n_steps = 0;
        for host_s in 940.. {
            let next = next_ns(latest_ns, S, host_s * S);
            assert!(next > latest_ns, "it does not stand still");
            latest_ns = next;
            n_steps += 1;
            if next == host_s * S {
                break;
            }
        }
        assert!((900..1100).contains(&n_steps), "{n_steps} s until the host's clock caught up");
    }

    #[test]
    fn it_begins_at_the_host_clock() {
        let mut clock = ArrivalClock::after(i64::MIN);
        assert!(clock.now_ns() > 1_700_000_000 * S);
        let mut ahead = ArrivalClock::after(i64::MAX - S);
        assert!(ahead.now_ns() >= i64::MAX - S);
    }
}
