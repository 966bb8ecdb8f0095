//! The age of records when a sink accepts them, as a histogram.

use std::time::Duration;

use crate::metrics::Metrics;

/// Upper bounds of the buckets in milliseconds. A last bucket without a bound counts older records.
const BOUNDS_MS: [u64; 19] =
    [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/// A histogram of the ages of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    /// Number of records in each bucket; not cumulative.
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: Duration,
}

impl Latencies {
    /// Adds records of one age.
    pub(crate) fn add(&mut self, age: Duration, n_records: u64) {
        let bucket = BOUNDS_MS.partition_point(|bound_ms| Duration::from_millis(*bound_ms) < age);
        self.counts[bucket] += n_records;
        self.sum += age.saturating_mul(u32::try_from(n_records).unwrap_or(u32::MAX));
    }

    /// Adds the cumulative samples of the histogram to `metrics`, under this name.
    pub(crate) fn write(&self, name: &str, component: &str, metrics: &mut Metrics) {
        let bounds = BOUNDS_MS.map(|bound_ms| (bound_ms as f64 * 1e-3).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let labels = format!("component=\"{component}\"");
        let mut n_records = 0;
        for (bound, count) in bounds.zip(self.counts) {
            n_records += count;
            let of_bound = format!("{labels},le=\"{bound}\"");
            metrics.sample(&format!("{name}_bucket"), &of_bound, n_records as f64);
        }
        metrics.sample(&format!("{name}_sum"), &labels, self.sum.as_secs_f64());
        metrics.sample(&format!("{name}_count"), &labels, n_records as f64);
    }

    /// Returns true if no records were added.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}
