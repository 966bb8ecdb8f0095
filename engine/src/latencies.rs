//! The age of records when a sink accepts them, as a histogram.

use std::time::Duration;

/// Upper bounds of the buckets in seconds. A last bucket without a bound counts older records.
pub(crate) const BOUNDS_S: [f64; 19] = [
    0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 60.0,
];

/// A histogram of the ages of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    /// Number of records in each bucket; not cumulative.
    pub(crate) counts: [u64; BOUNDS_S.len() + 1],
    pub(crate) sum: Duration,
}

impl Latencies {
    /// Adds records of one age.
    pub(crate) fn add(&mut self, age: Duration, n_records: u64) {
        let bucket = BOUNDS_S.partition_point(|bound| Duration::from_secs_f64(*bound) < age);
        self.counts[bucket] += n_records;
        self.sum += age.saturating_mul(u32::try_from(n_records).unwrap_or(u32::MAX));
    }

    /// Returns the mean age; none if no records were added.
    pub(crate) fn mean(&self) -> Option<Duration> {
        let n_records: u64 = self.counts.iter().sum();
        (n_records > 0).then(|| self.sum.div_f64(n_records as f64))
    }

    /// Returns true if no records were added.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}
