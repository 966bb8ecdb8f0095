//! Waiting for a condition of another process: with a pause between two checks, and with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(5);
/// Limit of each wait, long enough for slow machines.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Waits until `so` returns true; panics with `what` at the limit.
#[expect(clippy::disallowed_methods, reason = "patience is a matter of clocks")]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(PAUSE);
    }
}
