//! The Prometheus text format.
//!
//! Source: Prometheus, "Exposition formats", version 0.0.4.

use std::fmt::{self, Write as _};

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
