//! What went in and out, was late, or was dropped and why, by component.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counts of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that a source gave or a sink took; frames for CSI.
    pub records: u64,
    /// Records that came later than their tick.
    pub late: u64,
    /// Records that could not be used, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
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
        let text = counters.prometheus();
        for line in [
            "# TYPE fresnel_records_total counter",
            "fresnel_records_total{component=\"living\"} 5",
            "fresnel_late_total{component=\"living\"} 0",
            "fresnel_dropped_total{component=\"living\",reason=\"odd number of values\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
    }
}
