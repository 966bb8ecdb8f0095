//! How long something takes, for metrics.

use std::time::{Duration, Instant};

/// Runs something, and reports how long it took.
#[expect(clippy::disallowed_methods, reason = "the time is a metric, never a result")]
pub fn timed<T>(run: impl FnOnce() -> T, report: impl FnOnce(Duration)) -> T {
    let started = Instant::now();
    let result = run();
    report(started.elapsed());
    result
}
