//! The settings of sources.

mod checks;
pub(crate) mod csi;
pub(crate) mod json;
pub(crate) mod poses;

/// What `idle_timeout_ms` is unless it is set.
pub(crate) fn default_idle_timeout_ms() -> u32 {
    30_000
}

/// What `max_ahead_ms` is unless it is set.
pub(crate) fn default_max_ahead_ms() -> u32 {
    60_000
}
