//! Assigns windows to rows by their time: tumbling, sliding and session windows.

use std::fmt;

use schemars::JsonSchema;
use schemas::Tick;
use serde::{Deserialize, Deserializer, Serialize};

const NS_PER_S: f64 = 1e9;
const NS_PER_MS: i64 = 1_000_000;
/// The most windows of a row: each costs an update for every row, and memory for every key. Ten thousand are
/// windows of a day every nine seconds.
const MAX_WINDOWS: f64 = 10_000.0;

/// The windows of a row, by the row's time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowAssigner {
    /// Windows one after the other, aligned to the Unix epoch.
    Tumbling {
        /// Length of a window in seconds.
        length_s: Seconds,
    },
    /// Overlapping windows, aligned to the Unix epoch. A row is in at most 10000 of them.
    Sliding {
        /// Length of a window in seconds.
        length_s: Seconds,
        /// Seconds from the start of one window to the start of the next.
        every_s: Seconds,
    },
    /// One window for each sequence of rows of a key that are less than `gap_s` apart.
    Session {
        /// Seconds without a row after which a session ends.
        gap_s: Seconds,
    },
}

/// A length of time in seconds, from 0.001 to 1e9.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Seconds(f64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if (1e-3..1e9).contains(&seconds) {
            return Ok(Self(seconds));
        }
        let unexpected = serde::de::Unexpected::Float(seconds);
        Err(serde::de::Error::invalid_value(unexpected, &"seconds from 0.001 to 1e9"))
    }
}

impl Seconds {
    #[cfg(test)]
    pub(super) fn new(seconds: f64) -> Self {
        Self(seconds)
    }

    fn as_ns(self) -> i64 {
        (self.0 * NS_PER_S) as i64
    }
}

impl fmt::Display for WindowAssigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tumbling { length_s } => write!(formatter, "{} s", length_s.0),
            Self::Sliding { length_s, every_s } => {
                write!(formatter, "{} s every {} s", length_s.0, every_s.0)
            }
            Self::Session { gap_s } => write!(formatter, "sessions {} s apart", gap_s.0),
        }
    }
}

/// A window, with `start_ns` and without `end_ns`, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
}

impl Window {
    /// Returns the tick from which rows of the window are late.
    pub(super) fn over_at(self) -> Tick {
        let end_ms = self.end_ns.div_euclid(NS_PER_MS);
        let whole = end_ms + i64::from(self.end_ns.rem_euclid(NS_PER_MS) > 0);
        whole.max(0).unsigned_abs()
    }
}

impl WindowAssigner {
    /// Returns an error in the lengths, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        let Self::Sliding { length_s, every_s } = self else { return None };
        let n_windows = (length_s.0 / every_s.0).ceil();
        (n_windows > MAX_WINDOWS).then(|| {
            let least_s = length_s.0 / MAX_WINDOWS;
            format!(
                "each row would be in {n_windows} windows, at most {MAX_WINDOWS} work: every_s must be \
                 at least {least_s}, or length_s less"
            )
        })
    }

    /// True if windows merge when they touch.
    pub(super) fn merges(&self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Calls `visit` with each window that contains a time, the latest first.
    pub(super) fn windows_of(&self, time_ns: i64, mut visit: impl FnMut(Window)) {
        match self {
            Self::Tumbling { length_s } => {
                let length_ns = length_s.as_ns();
                let start_ns = time_ns.div_euclid(length_ns).saturating_mul(length_ns);
                visit(Window { start_ns, end_ns: start_ns.saturating_add(length_ns) });
            }
            Self::Sliding { length_s, every_s } => {
                let (length_ns, every_ns) = (length_s.as_ns(), every_s.as_ns());
                let mut start_ns = time_ns.div_euclid(every_ns).saturating_mul(every_ns);
                while start_ns.saturating_add(length_ns) > time_ns {
                    visit(Window { start_ns, end_ns: start_ns.saturating_add(length_ns) });
                    let Some(earlier) = start_ns.checked_sub(every_ns) else { break };
                    start_ns = earlier;
                }
            }
            Self::Session { gap_s } => {
                visit(Window { start_ns: time_ns, end_ns: time_ns.saturating_add(gap_s.as_ns()) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_time_ns;

    proptest! {
        #[test]
        fn any_time_will_do(
            time_ns in any_time_ns(),
            length_s in 0.001_f64..1e9,
            every_s in 0.1_f64..1.0,
        ) {
            let (length_s, every_s) = (Seconds(length_s), Seconds(every_s * length_s));
            for assigner in [
                WindowAssigner::Tumbling { length_s },
                WindowAssigner::Sliding { length_s, every_s },
                WindowAssigner::Session { gap_s: length_s },
            ] {
                assigner.windows_of(time_ns, |window| {
                    // The last window of all includes its end.
                    assert!((window.start_ns..=window.end_ns).contains(&time_ns), "{window:?}");
                    let over_at_ns = i128::from(window.over_at()) * i128::from(NS_PER_MS);
                    assert!(over_at_ns >= window.end_ns.into(), "{window:?}");
                });
            }
        }
    }

    #[test]
    fn a_moment_belongs_to_its_windows() {
        let starts = |assigner: WindowAssigner, time_ms: i64| {
            let mut starts = Vec::new();
            assigner.windows_of(time_ms * NS_PER_MS, |window| {
                starts.push((window.start_ns / NS_PER_MS, window.end_ns / NS_PER_MS));
            });
            starts
        };
        let s = Seconds::new;
        let tumbling = WindowAssigner::Tumbling { length_s: s(1.0) };
        assert_eq!(starts(tumbling, 0), [(0, 1000)]);
        assert_eq!(starts(tumbling, 1999), [(1000, 2000)]);
        assert_eq!(starts(tumbling, -1), [(-1000, 0)]);
        let sliding = WindowAssigner::Sliding { length_s: s(2.5), every_s: s(1.0) };
        assert_eq!(starts(sliding, 3200), [(3000, 5500), (2000, 4500), (1000, 3500)]);
        assert_eq!(starts(sliding, 3500), [(3000, 5500), (2000, 4500)]);
        let gaps = WindowAssigner::Sliding { length_s: s(0.5), every_s: s(1.0) };
        assert_eq!(starts(gaps, 700), [], "between two");
        assert_eq!(starts(WindowAssigner::Session { gap_s: s(5.0) }, 100), [(100, 5100)]);
    }

    #[test]
    fn a_row_is_in_so_many_windows_at_most() {
        let s = Seconds::new;
        let sliding = |length_s, every_s| {
            WindowAssigner::Sliding { length_s: s(length_s), every_s: s(every_s) }.problem()
        };
        assert_eq!(sliding(86_400.0, 60.0), None);
        assert_eq!(sliding(10_000.0, 1.0), None);
        let expected = "each row would be in 100000 windows, at most 10000 work: every_s must be at \
                        least 10, or length_s less";
        assert_eq!(sliding(1e5, 1.0).as_deref(), Some(expected));
        assert!(sliding(999_999_999.0, 0.001).is_some());
        assert_eq!(WindowAssigner::Tumbling { length_s: s(999_999_999.0) }.problem(), None);
    }

    #[test]
    fn a_window_is_over_when_its_last_tick_is() {
        for (end_ns, expected) in [(2_000_000, 2), (2_000_001, 3), (-5, 0)] {
            assert_eq!(Window { start_ns: -9, end_ns }.over_at(), expected);
        }
    }
}
