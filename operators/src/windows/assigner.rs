//! Assigns windows to rows by their time: tumbling, sliding and session windows.

use std::fmt;

use schemars::JsonSchema;
use schemas::{Tick, TimeSpan};
use serde::{Deserialize, Serialize};

use crate::settings::{SHORTEST, below};

const NS_PER_MS: i64 = 1_000_000;
/// The most windows of a row: each costs an update for every row, and memory for every key. Ten thousand are
/// windows of a day every nine seconds.
const MAX_WINDOWS: u64 = 10_000;

/// The windows of a row, by the row's time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowAssigner {
    /// Windows one after the other, aligned to the Unix epoch.
    Tumbling {
        /// Length of a window.
        length: TimeSpan,
    },
    /// Overlapping windows, aligned to the Unix epoch. A row is in at least one of them, and at most 10000.
    Sliding {
        /// Length of a window.
        length: TimeSpan,
        /// Time from the start of one window to the start of the next.
        every: TimeSpan,
    },
    /// One window for each sequence of rows of a key that are less than `gap` apart.
    Session {
        /// Time without a row after which a session ends.
        gap: TimeSpan,
    },
}

impl fmt::Display for WindowAssigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tumbling { length } => write!(formatter, "{} s", length.as_s()),
            Self::Sliding { length, every } => {
                write!(formatter, "{} s every {} s", length.as_s(), every.as_s())
            }
            Self::Session { gap } => write!(formatter, "sessions {} s apart", gap.as_s()),
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
    /// Returns the errors in the lengths.
    pub(super) fn problems(&self) -> Vec<String> {
        let lengths = match *self {
            Self::Tumbling { length } => vec![("length", length)],
            Self::Session { gap } => vec![("gap", gap)],
            Self::Sliding { length, every } => vec![("length", length), ("every", every)],
        };
        let below = |(setting, length)| below(setting, length, SHORTEST);
        let problems: Vec<_> = lengths.into_iter().filter_map(below).collect();
        match *self {
            Self::Sliding { length, every } if problems.is_empty() => gaps(length, every)
                .or_else(|| too_many_windows(length, every))
                .into_iter()
                .collect(),
            _ => problems,
        }
    }

    /// True if windows merge when they touch.
    pub(super) fn merges(&self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Calls `visit` with each window that contains a time, the latest first.
    pub(super) fn windows_of(&self, time_ns: i64, mut visit: impl FnMut(Window)) {
        match self {
            Self::Tumbling { length } => {
                let length_ns = length.as_ns();
                let start_ns = time_ns.div_euclid(length_ns).saturating_mul(length_ns);
                visit(Window { start_ns, end_ns: start_ns.saturating_add(length_ns) });
            }
            Self::Sliding { length, every } => {
                let (length_ns, every_ns) = (length.as_ns(), every.as_ns());
                let mut start_ns = time_ns.div_euclid(every_ns).saturating_mul(every_ns);
                while start_ns.saturating_add(length_ns) > time_ns {
                    visit(Window { start_ns, end_ns: start_ns.saturating_add(length_ns) });
                    let Some(earlier) = start_ns.checked_sub(every_ns) else { break };
                    start_ns = earlier;
                }
            }
            Self::Session { gap } => {
                visit(Window { start_ns: time_ns, end_ns: time_ns.saturating_add(gap.as_ns()) });
            }
        }
    }
}

/// Returns an error if there would be gaps between windows.
fn gaps(length: TimeSpan, every: TimeSpan) -> Option<String> {
    (every > length).then(|| {
        format!(
            "rows between the windows would be lost: every must be at most {length}, not {every}"
        )
    })
}

/// Returns an error if a row would be in more windows than [`MAX_WINDOWS`].
fn too_many_windows(length: TimeSpan, every: TimeSpan) -> Option<String> {
    let n_windows = length.as_ns().unsigned_abs().div_ceil(every.as_ns().unsigned_abs());
    (n_windows > MAX_WINDOWS).then(|| {
        let least = TimeSpan::from_ms(length.as_ms().div_ceil(MAX_WINDOWS));
        format!(
            "each row would be in {n_windows} windows, at most {MAX_WINDOWS} work: every must be at least \
             {least}, or length less"
        )
    })
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
            length_ms in 1_u64..1_000_000_000_000,
            n_windows in 1_u64..10,
        ) {
            let length = TimeSpan::from_ms(length_ms);
            let every = TimeSpan::from_ms(length_ms.div_ceil(n_windows));
            for assigner in [
                WindowAssigner::Tumbling { length },
                WindowAssigner::Sliding { length, every },
                WindowAssigner::Session { gap: length },
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
        let ms = TimeSpan::from_ms;
        let tumbling = WindowAssigner::Tumbling { length: ms(1000) };
        assert_eq!(starts(tumbling, 0), [(0, 1000)]);
        assert_eq!(starts(tumbling, 1999), [(1000, 2000)]);
        assert_eq!(starts(tumbling, -1), [(-1000, 0)]);
        let sliding = WindowAssigner::Sliding { length: ms(2500), every: ms(1000) };
        assert_eq!(starts(sliding, 3200), [(3000, 5500), (2000, 4500), (1000, 3500)]);
        assert_eq!(starts(sliding, 3500), [(3000, 5500), (2000, 4500)]);
        let gaps = WindowAssigner::Sliding { length: ms(500), every: ms(1000) };
        assert_eq!(starts(gaps, 700), [], "between two");
        assert_eq!(starts(WindowAssigner::Session { gap: ms(5000) }, 100), [(100, 5100)]);
    }

    #[test]
    fn a_row_is_in_so_many_windows_at_most() {
        let ms = TimeSpan::from_ms;
        let sliding = |length_ms, every_ms| {
            WindowAssigner::Sliding { length: ms(length_ms), every: ms(every_ms) }.problems().pop()
        };
        assert_eq!(sliding(86_400_000, 60_000), None);
        assert_eq!(sliding(10_000_000, 1000), None);
        let expected = "each row would be in 100000 windows, at most 10000 work: every must be at least \
                        \"10s\", or length less";
        assert_eq!(sliding(100_000_000, 1000).as_deref(), Some(expected));
        assert!(sliding(999_999_999_000, 1).is_some());
        assert_eq!(WindowAssigner::Tumbling { length: TimeSpan::MAX }.problems().pop(), None);
    }

    #[test]
    fn a_window_takes_time() {
        let tumbling = |length| WindowAssigner::Tumbling { length }.problems().pop();
        assert_eq!(tumbling(TimeSpan::from_ms(1)), None);
        let problem = tumbling(TimeSpan::ZERO).expect("no window");
        assert!(problem.starts_with("length must be at least \"1ms\""), "{problem}");
    }

    #[test]
    fn a_window_is_over_when_its_last_tick_is() {
        for (end_ns, expected) in [(2_000_000, 2), (2_000_001, 3), (-5, 0)] {
            assert_eq!(Window { start_ns: -9, end_ns }.over_at(), expected);
        }
    }
}
