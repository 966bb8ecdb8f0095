//! Counters of each component: records, late and dropped ones, with reasons.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::Tick;

use crate::latencies::Latencies;

/// The counts of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that a source gave or a sink took; frames for CSI.
    pub records: u64,
    /// Records that came later than their tick.
    pub late: u64,
    /// Records that could not be used, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Time that its operators worked, on all workers together.
    pub busy: Duration,
    /// Records that it sent on to other components; frames for CSI.
    pub sent: u64,
    /// About how many bytes they have.
    pub sent_bytes: u64,
    /// The age of records when a sink accepted them.
    latencies: Latencies,
    /// The progress of each partition.
    parts: BTreeMap<usize, Part>,
}

/// The part of a component that is on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    clock: Tick,
    queued: usize,
}

impl Counts {
    /// The tick that a source or an operator has come to, or up to which everything is done with in a
    /// sink.
    pub fn clock(&self) -> Option<Tick> {
        self.parts.values().map(|part| part.clock).min()
    }

    /// Items in its queues: polls of a source, ticks of a sink.
    pub fn queued(&self) -> usize {
        self.parts.values().map(|part| part.queued).sum()
    }
}

/// The counts of a run. They change once a batch, so a lock does.
#[derive(Debug, Default)]
pub struct Counters {
    components: Mutex<BTreeMap<String, Counts>>,
}

impl Counters {
    /// Counts records of a component.
    pub fn records(&self, component: &str, n_records: u64) {
        self.update(component, |counts| counts.records += n_records);
    }

    /// Counts late records of a component.
    pub fn late(&self, component: &str, n_records: u64) {
        if n_records > 0 {
            self.update(component, |counts| counts.late += n_records);
        }
    }

    /// Counts records that a component dropped.
    pub fn dropped(&self, component: &str, reason: &'static str, n_records: u64) {
        self.update(component, |counts| *counts.dropped.entry(reason).or_default() += n_records);
    }

    /// Counts the time that a component's operators worked.
    pub(crate) fn busy(&self, component: &str, busy: Duration) {
        self.update(component, |counts| counts.busy += busy);
    }

    /// Counts records that a sink took when they were so old.
    pub(crate) fn latency(&self, component: &str, age: Duration, n_records: u64) {
        self.update(component, |counts| counts.latencies.add(age, n_records));
    }

    /// Counts records that a component sent on.
    pub(crate) fn sent(&self, component: &str, n_records: u64, n_bytes: u64) {
        self.update(component, |counts| {
            counts.sent += n_records;
            counts.sent_bytes += n_bytes;
        });
    }

    /// Notes how far the part of a component on a worker has come, and what waits there; none if it is
    /// done.
    pub(crate) fn progress(&self, component: &str, worker: usize, at: Option<(Tick, usize)>) {
        self.update(component, |counts| match at {
            Some((clock, queued)) => drop(counts.parts.insert(worker, Part { clock, queued })),
            None => drop(counts.parts.remove(&worker)),
        });
    }

    /// The counts so far, by component.
    pub fn snapshot(&self) -> BTreeMap<String, Counts> {
        self.lock().clone()
    }

    /// The counts in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        let components = self.snapshot();
        let mut text = String::new();
        let mut family = |name: &str, help: &str, samples: Vec<(String, u64)>| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, count) in samples {
                let _ = writeln!(text, "{name}{{{labels}}} {count}");
            }
        };
        let by_component = |count: fn(&Counts) -> u64| {
            let samples = components.iter();
            let samples =
                samples.map(|(name, counts)| (format!("component=\"{name}\""), count(counts)));
            samples.collect::<Vec<_>>()
        };
        family(
            "fresnel_records_total",
            "Records that a source gave or a sink took.",
            by_component(|counts| counts.records),
        );
        family(
            "fresnel_late_total",
            "Records that came later than their tick.",
            by_component(|counts| counts.late),
        );
        let dropped = components.iter().flat_map(|(name, counts)| {
            counts.dropped.iter().map(move |(reason, count)| {
                (format!("component=\"{name}\",reason=\"{reason}\""), *count)
            })
        });
        family("fresnel_dropped_total", "Records that could not be used.", dropped.collect());
        family(
            "fresnel_sent_total",
            "Records that a component sent on.",
            by_component(|counts| counts.sent),
        );
        family(
            "fresnel_sent_bytes_total",
            "Bytes of the records that a component sent on, about.",
            by_component(|counts| counts.sent_bytes),
        );
        let mut seconds = |name: &str, kind: &str, help: &str, samples: Vec<(&String, f64)>| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (component, value) in samples {
                let _ = writeln!(text, "{name}{{component=\"{component}\"}} {value}");
            }
        };
        let busy = components.iter().map(|(name, counts)| (name, counts.busy.as_secs_f64()));
        let help = "Time that a component's operators worked.";
        seconds("fresnel_busy_seconds_total", "counter", help, busy.collect());
        let newest = components.values().filter_map(Counts::clock).max().unwrap_or(0);
        let lag = components.iter().filter_map(|(name, counts)| {
            Some((name, newest.saturating_sub(counts.clock()?) as f64 * 1e-3))
        });
        let help = "Event time that a component is behind the source that is furthest.";
        seconds("fresnel_lag_seconds", "gauge", help, lag.collect());
        let queued = components.iter().filter(|(_, counts)| counts.clock().is_some());
        let queued = queued.map(|(name, counts)| (name, counts.queued() as f64));
        let help = "Polls of a source or ticks of a sink that wait.";
        seconds("fresnel_queue_depth", "gauge", help, queued.collect());
        let name = "fresnel_latency_seconds";
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} Time from a record's tick until a sink took it.\n# TYPE {name} histogram"
        );
        for (component, counts) in components.iter().filter(|(_, it)| !it.latencies.is_empty()) {
            counts.latencies.write(name, component, &mut text);
        }
        text
    }

    fn update(&self, component: &str, change: impl FnOnce(&mut Counts)) {
        let mut components = self.lock();
        if let Some(counts) = components.get_mut(component) {
            change(counts);
        } else {
            change(components.entry(component.to_owned()).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counts>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_prometheus_reads() {
        let counters = Counters::default();
        counters.records("living", 3);
        counters.records("living", 2);
        counters.dropped("living", "odd number of values", 1);
        counters.busy("living", Duration::from_millis(250));
        counters.sent("living", 7, 900);
        counters.latency("bath", Duration::from_millis(12), 3);
        counters.latency("bath", Duration::from_secs(100), 1);
        counters.progress("living", 0, Some((5000, 0)));
        counters.progress("bath", 0, Some((4000, 2)));
        counters.progress("bath", 1, Some((3500, 1)));
        let text = counters.prometheus();
        for line in [
            "# TYPE fresnel_records_total counter",
            "fresnel_records_total{component=\"living\"} 5",
            "fresnel_late_total{component=\"living\"} 0",
            "fresnel_lag_seconds{component=\"bath\"} 1.5",
            "fresnel_queue_depth{component=\"bath\"} 3",
            "fresnel_busy_seconds_total{component=\"living\"} 0.25",
            "fresnel_latency_seconds_bucket{component=\"bath\",le=\"0.01\"} 0",
            "fresnel_latency_seconds_bucket{component=\"bath\",le=\"0.015\"} 3",
            "fresnel_latency_seconds_bucket{component=\"bath\",le=\"+Inf\"} 4",
            "fresnel_latency_seconds_count{component=\"bath\"} 4",
            "fresnel_sent_total{component=\"living\"} 7",
            "fresnel_sent_bytes_total{component=\"living\"} 900",
            "fresnel_dropped_total{component=\"living\",reason=\"odd number of values\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
    }
}
