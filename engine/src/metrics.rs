//! The Prometheus text format.
//!
//! Source: Prometheus, "Exposition formats", version 0.0.4.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Metrics in the Prometheus text format.
#[derive(Debug, Default)]
pub struct Metrics {
    text: String,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that grows and shrinks.
    Gauge,
    /// Counts of values up to bounds.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

impl Metrics {
    /// Adds a metric, with a value for each set of labels, such as `component="room"`.
    pub fn add(
        &mut self,
        (name, kind, help): (&str, MetricKind, &str),
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        self.header(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    /// Adds a histogram. Each of its series has labels, the number of values in each bucket, not cumulative and
    /// with a last bucket without a bound, and the sum of its values.
    pub fn add_histogram<'a>(
        &mut self,
        (name, help): (&str, &str),
        bounds: &[f64],
        series: impl IntoIterator<Item = (String, &'a [u64], Duration)>,
    ) {
        self.header(name, MetricKind::Histogram, help);
        for (labels, buckets, sum) in series {
            let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            let mut n_values = 0;
            for (bound, n_here) in bounds.zip(buckets) {
                n_values += n_here;
                let of_bound = format!("{labels},le=\"{bound}\"");
                self.sample(&format!("{name}_bucket"), &of_bound, n_values as f64);
            }
            self.sample(&format!("{name}_sum"), &labels, sum.as_secs_f64());
            self.sample(&format!("{name}_count"), &labels, n_values as f64);
        }
    }

    /// Adds the description of a metric whose samples follow.
    pub(crate) fn header(&mut self, name: &str, kind: MetricKind, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a value.
    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        // Writing to a string does not fail.
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
