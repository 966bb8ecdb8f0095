//! The age of records when a sink accepts them, as a histogram.

use std::fmt::Write as _;
use std::time::Duration;

/// Upper bounds in milliseconds; what is older is beyond them all.
const BOUNDS_MS: [u64; 19] =
    [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/// Ages of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    /// Records of each bound, not of those below.
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

    /// Samples of a Prometheus histogram of this name.
    pub(crate) fn write(&self, name: &str, component: &str, text: &mut String) {
        let bounds = BOUNDS_MS.map(|bound_ms| (bound_ms as f64 * 1e-3).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let mut n_records = 0;
        for (bound, count) in bounds.zip(self.counts) {
            n_records += count;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{name}_bucket{{component=\"{component}\",le=\"{bound}\"}} {n_records}"
            );
        }
        let sum = self.sum.as_secs_f64();
        let _ = writeln!(text, "{name}_sum{{component=\"{component}\"}} {sum}");
        let _ = writeln!(text, "{name}_count{{component=\"{component}\"}} {n_records}");
    }

    /// True if nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}
