//! Durations of the tests: as short as possible by default, long with `make soak`.

use std::time::Duration;

/// Returns the length of an outage, or `None` if it is to be short.
pub(crate) fn outage() -> Option<Duration> {
    is_on().then_some(Duration::from_mins(1))
}

/// Returns the time for which devices send.
pub(crate) fn period() -> Duration {
    if is_on() { Duration::from_mins(1) } else { Duration::from_secs(2) }
}

fn is_on() -> bool {
    std::env::var_os("FRESNEL_SOAK").is_some()
}
