//! How long tests go on: as briefly as they can by themselves, long with `make soak`.

use std::time::Duration;

/// How long something stays away, if that is to be long.
pub(crate) fn outage() -> Option<Duration> {
    is_on().then_some(Duration::from_mins(1))
}

/// For how long devices send.
pub(crate) fn period() -> Duration {
    if is_on() { Duration::from_mins(1) } else { Duration::from_secs(2) }
}

fn is_on() -> bool {
    std::env::var_os("FRESNEL_SOAK").is_some()
}
