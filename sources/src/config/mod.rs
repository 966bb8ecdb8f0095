//! The settings of sources.

pub(crate) mod csi;
pub(crate) mod json;
mod mistakes;
pub(crate) mod poses;

/// What `idle_timeout_ms` is unless it is set.
pub(crate) fn default_idle_timeout_ms() -> u32 {
    30_000
}

/// What `max_ahead_ms` is unless it is set.
pub(crate) fn default_max_ahead_ms() -> u32 {
    60_000
}
