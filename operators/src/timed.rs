//! Wall-clock time of a call, for metrics.

use std::time::{Duration, Instant};

/// Calls `run`, and passes its wall-clock time to `report`.
#[expect(clippy::disallowed_methods, reason = "the time is a metric, never a result")]
pub fn timed<T>(run: impl FnOnce() -> T, report: impl FnOnce(Duration)) -> T {
    let started = Instant::now();
    let result = run();
    report(started.elapsed());
    result
}
