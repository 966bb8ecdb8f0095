//! How long tests wait: not at all by themselves, long with `make soak`.

use std::time::Duration;

/// How long something stays away, if that is to be long.
pub(crate) fn outage() -> Option<Duration> {
    std::env::var_os("FRESNEL_SOAK").map(|_| Duration::from_mins(1))
}
