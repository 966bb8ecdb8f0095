//! Waiting for something that another process does: with a pause between two looks, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// Nothing that a test waits for takes so long, on whatever machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Waits until something is so; `what` it was is said if it never is.
#[expect(clippy::disallowed_methods, reason = "patience is a matter of clocks")]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(PAUSE);
    }
}
