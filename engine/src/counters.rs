//! Counters of each component, such as records, late records, and dropped records by reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::Tick;

use crate::latencies::{BOUNDS_S, Latencies};
use crate::metrics::MetricKind::{Counter, Gauge};
use crate::metrics::Metrics;

/// The counts of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that a source read or a sink accepted; frames for CSI.
    pub records: u64,
    /// Records that arrived after their tick.
    pub late: u64,
    /// Records that were dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Busy time: the sum over the component's operators and threads.
    pub busy: Duration,
    /// Busy time of an operator's threads, by stage; part of `busy`.
    pub stages: BTreeMap<&'static str, Duration>,
    /// Records that the component sent to other components; frames for CSI.
    pub sent: u64,
    /// Approximate bytes of the records that the component sent.
    pub sent_bytes: u64,
    /// The age of records when a sink accepted them.
    latencies: Latencies,
    /// The progress of the component on each worker.
    parts: BTreeMap<usize, Part>,
}

/// The progress of a component on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    clock: Tick,
    queued: usize,
}

impl Counts {
    /// Returns the tick that a source or an operator has reached, or the first tick that is not durable in
    /// a sink.
    pub fn clock(&self) -> Option<Tick> {
        self.parts.values().map(|part| part.clock).min()
    }

    /// Returns the mean age of records when a sink accepted them; none for other components.
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latencies.mean()
    }

    /// Returns the number of items in the component's queues: polls of a source, ticks of a sink.
    pub fn queued(&self) -> usize {
        self.parts.values().map(|part| part.queued).sum()
    }
}

/// The counts of a run. They change once a batch, so a lock is fast enough.
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

    /// Adds busy time of a component's operators, or of the thread of a source or sink.
    pub(crate) fn busy(&self, component: &str, busy: Duration) {
        self.update(component, |counts| counts.busy += busy);
    }

    /// Adds busy time of an operator's thread at one of its stages.
    pub(crate) fn worked(&self, component: &str, stage: &'static str, time: Duration) {
        self.update(component, |counts| {
            counts.busy += time;
            *counts.stages.entry(stage).or_default() += time;
        });
    }

    /// Counts records that a sink accepted at this age.
    pub(crate) fn latency(&self, component: &str, age: Duration, n_records: u64) {
        self.update(component, |counts| counts.latencies.add(age, n_records));
    }

    /// Counts records that a component sent to other components, with their approximate size.
    pub(crate) fn sent(&self, component: &str, n_records: u64, n_bytes: u64) {
        self.update(component, |counts| {
            counts.sent += n_records;
            counts.sent_bytes += n_bytes;
        });
    }

    /// Records the progress of a component on a worker: its tick and the length of its queue. `None` if the
    /// component has no progress there, because it has ended or not begun.
    pub fn progress(&self, component: &str, worker: usize, at: Option<(Tick, usize)>) {
        self.update(component, |counts| match at {
            Some((clock, queued)) => drop(counts.parts.insert(worker, Part { clock, queued })),
            None => drop(counts.parts.remove(&worker)),
        });
    }

    /// Returns the counts so far, by component.
    pub fn snapshot(&self) -> BTreeMap<String, Counts> {
        self.lock().clone()
    }

    /// Adds the counts to metrics.
    pub fn write(&self, metrics: &mut Metrics) {
        let components = self.snapshot();
        write_totals(&components, metrics);
        write_dropped(&components, metrics);
        write_stages(&components, metrics);
        write_gauges(&components, metrics);
        let timed = components.iter().filter(|(_, counts)| !counts.latencies.is_empty());
        let latencies = timed.map(|(component, Counts { latencies, .. })| {
            (of(component), latencies.counts.as_slice(), latencies.sum)
        });
        let help = "Time from the tick of a record until a sink accepts it.";
        metrics.add_histogram((LATENCY, help), &BOUNDS_S, latencies);
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

type Totals = (&'static str, &'static str, fn(&Counts) -> f64);

const TOTALS: [Totals; 5] = [
    ("fresnel_records_total", "Records that a source read or a sink accepted.", |counts| {
        counts.records as f64
    }),
    ("fresnel_late_total", "Records later than their tick.", |counts| counts.late as f64),
    ("fresnel_sent_total", "Records that a component sent.", |counts| counts.sent as f64),
    (
        "fresnel_sent_bytes_total",
        "Approximate bytes of the records that a component sent.",
        |counts| counts.sent_bytes as f64,
    ),
    (
        "fresnel_busy_seconds_total",
        "Busy time of a component, the sum over its operators and threads.",
        |counts| counts.busy.as_secs_f64(),
    ),
];
const LATENCY: &str = "fresnel_latency_seconds";

fn write_totals(components: &BTreeMap<String, Counts>, metrics: &mut Metrics) {
    for (name, help, count) in TOTALS {
        let samples = components.iter().map(|(name, counts)| (of(name), count(counts)));
        metrics.add((name, Counter, help), samples);
    }
}

fn write_dropped(components: &BTreeMap<String, Counts>, metrics: &mut Metrics) {
    let samples = components.iter().flat_map(|(name, counts)| {
        let dropped = counts.dropped.iter();
        dropped.map(|(reason, count)| (format!("{},reason=\"{reason}\"", of(name)), *count as f64))
    });
    metrics
        .add(("fresnel_dropped_total", Counter, "Records that were dropped, by reason."), samples);
}

fn write_stages(components: &BTreeMap<String, Counts>, metrics: &mut Metrics) {
    let samples = components.iter().flat_map(|(name, counts)| {
        let stages = counts.stages.iter();
        stages.map(|(stage, time)| (format!("{},stage=\"{stage}\"", of(name)), time.as_secs_f64()))
    });
    let help = "Busy time of an operator's threads, by stage.";
    metrics.add(("fresnel_stage_seconds_total", Counter, help), samples);
}

fn write_gauges(components: &BTreeMap<String, Counts>, metrics: &mut Metrics) {
    let newest = components.values().filter_map(Counts::clock).max().unwrap_or(0);
    let lags = components.iter().filter_map(|(name, counts)| {
        Some((of(name), newest.saturating_sub(counts.clock()?) as f64 * 1e-3))
    });
    let help = "Event time between the most advanced component and this one.";
    metrics.add(("fresnel_lag_seconds", Gauge, help), lags);
    let active = components.iter().filter(|(_, counts)| counts.clock().is_some());
    let queued = active.map(|(name, counts)| (of(name), counts.queued() as f64));
    let help = "Polls in the queue of a source, ticks in the queue of a sink.";
    metrics.add(("fresnel_queue_depth", Gauge, help), queued);
}

/// Returns the label of a component.
fn of(component: &str) -> String {
    format!("component=\"{component}\"")
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
        counters.worked("poses", "detect", Duration::from_millis(750));
        counters.sent("living", 7, 900);
        counters.latency("bath", Duration::from_millis(12), 3);
        counters.latency("bath", Duration::from_secs(100), 1);
        counters.progress("living", 0, Some((5000, 0)));
        counters.progress("bath", 0, Some((4000, 2)));
        counters.progress("bath", 1, Some((3500, 1)));
        let mut metrics = Metrics::default();
        counters.write(&mut metrics);
        let text = metrics.to_string();
        for line in [
            "# TYPE fresnel_records_total counter",
            "fresnel_records_total{component=\"living\"} 5",
            "fresnel_late_total{component=\"living\"} 0",
            "fresnel_lag_seconds{component=\"bath\"} 1.5",
            "fresnel_queue_depth{component=\"bath\"} 3",
            "fresnel_busy_seconds_total{component=\"living\"} 0.25",
            "fresnel_busy_seconds_total{component=\"poses\"} 0.75",
            "fresnel_stage_seconds_total{component=\"poses\",stage=\"detect\"} 0.75",
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
