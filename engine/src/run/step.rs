//! Steps a timely worker.

use std::time::Duration;

use timely::worker::Worker;

/// The longest sleep of an idle worker.
const PARK: Duration = Duration::from_millis(100);

/// Steps a worker until `done` returns true, and at least once: before its first step, a dataflow seems to be
/// complete.
pub(super) fn step_until(worker: &mut Worker, done: impl Fn() -> bool) {
    worker.step();
    while !done() {
        worker.step_or_park(Some(PARK));
    }
}
