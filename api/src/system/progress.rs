//! Samples the counters of components once a second, and detects components that are stuck or that drop all of
//! their records.
//!
//! The run does not fail in either case, so the health of the pipeline reports both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::{Counters, Counts};
use schemas::Tick;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::wall_clock::now;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks without progress, while records wait, after which a component is stuck.
const N_STUCK: u32 = 60;
/// Looks without a record that was used, after which a component that drops records drops all.
const N_DROPPING: usize = 10;

/// The progress of each component.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    components: Mutex<BTreeMap<String, Component>>,
}

/// What keeps a component from its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Records have waited in its queue since then, and it did nothing.
    Stuck { since: DateTime<Utc> },
    /// It used no record since then, and dropped some.
    Dropping { since: DateTime<Utc>, n_dropped: u64, reason: &'static str },
}

#[derive(Debug)]
struct Component {
    /// The records and the clock of the last look; none before it.
    last: Option<(u64, Option<Tick>)>,
    /// Looks since then with records in the queue and without progress.
    n_stuck: u32,
    /// The time of the last progress.
    progressed_at: DateTime<Utc>,
    /// The records and the dropped records at the last looks, the oldest first.
    looks: VecDeque<Look>,
}

#[derive(Debug)]
struct Look {
    at: DateTime<Utc>,
    records: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl Progress {
    /// Looks at the counters until the server ends.
    pub(crate) async fn watch(&self, counters: &Counters, mut ending: watch::Receiver<bool>) {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(&counters.snapshot(), now()),
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }

    /// Returns the trouble of a component.
    pub(crate) fn trouble(&self, component: &str) -> Option<Trouble> {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.get(component)?.trouble()
    }

    fn look(&self, counts: &BTreeMap<String, Counts>, now: DateTime<Utc>) {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, counts) in counts {
            let component = components.entry(name.clone()).or_insert_with(|| Component {
                last: None,
                n_stuck: 0,
                progressed_at: now,
                looks: VecDeque::new(),
            });
            component.look(counts, now);
        }
    }
}

impl Component {
    fn look(&mut self, counts: &Counts, now: DateTime<Utc>) {
        let here = Some((counts.records, counts.clock()));
        if here != self.last || counts.queued() == 0 {
            (self.last, self.n_stuck, self.progressed_at) = (here, 0, now);
        } else {
            self.n_stuck += 1;
        }
        let dropped = counts.dropped.clone();
        self.looks.push_back(Look { at: now, records: counts.records, dropped });
        if self.looks.len() > N_DROPPING + 1 {
            self.looks.pop_front();
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        if self.n_stuck >= N_STUCK {
            return Some(Trouble::Stuck { since: self.progressed_at });
        }
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        if self.looks.len() <= N_DROPPING || first.records != last.records {
            return None;
        }
        let before = |reason| first.dropped.get(reason).copied().unwrap_or(0);
        let since = last.dropped.iter().map(|(reason, n)| (n - before(reason), *reason));
        let since: Vec<_> = since.filter(|(n_dropped, _)| *n_dropped > 0).collect();
        let (_, reason) = *since.iter().max()?;
        let n_dropped = since.iter().map(|(n_dropped, _)| n_dropped).sum();
        Some(Trouble::Dropping { since: first.at, n_dropped, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at counters that `change` before each look.
    fn troubles(n_looks: u32, mut change: impl FnMut(u32, &Counters)) -> Option<Trouble> {
        let (progress, counters) = (Progress::default(), Counters::default());
        for nth in 0..n_looks {
            change(nth, &counters);
            let at = DateTime::from_timestamp(i64::from(nth), 0).expect("a time");
            progress.look(&counters.snapshot(), at);
        }
        progress.trouble("it")
    }

    #[test]
    fn what_only_drops_is_in_trouble() {
        let drops = |nth: u32, counters: &Counters| {
            counters.dropped("it", if nth.is_multiple_of(3) { "too long" } else { "broken" }, 1);
        };
        assert_eq!(troubles(10, drops), None, "it may have begun");
        let trouble = troubles(20, drops);
        let since = DateTime::from_timestamp(9, 0).expect("a time");
        assert_eq!(trouble, Some(Trouble::Dropping { since, n_dropped: 10, reason: "broken" }));
        let uses_some = |nth: u32, counters: &Counters| {
            drops(nth, counters);
            counters.records("it", u64::from(nth.is_multiple_of(5)));
        };
        assert_eq!(troubles(60, uses_some), None);
        let is_idle = |nth: u32, counters: &Counters| {
            if nth == 0 {
                drops(nth, counters);
            }
        };
        assert_eq!(troubles(60, is_idle), None, "that was long ago");
    }

    #[test]
    fn what_has_a_queue_and_no_progress_is_stuck() {
        let waits = |_: u32, counters: &Counters| counters.progress("it", 0, Some((5, 2)));
        assert_eq!(troubles(N_STUCK, waits), None, "it may be slow");
        let since = DateTime::from_timestamp(0, 0).expect("a time");
        assert_eq!(troubles(N_STUCK + 1, waits), Some(Trouble::Stuck { since }));
        let is_slow = |nth: u32, counters: &Counters| {
            counters.progress("it", 0, Some((u64::from(nth / 50), 2)));
        };
        assert_eq!(troubles(1000, is_slow), None);
        let has_none = |_: u32, counters: &Counters| counters.progress("it", 0, Some((5, 0)));
        assert_eq!(troubles(1000, has_none), None, "nothing waits");
    }
}
