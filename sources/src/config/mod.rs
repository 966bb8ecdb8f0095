//! The settings of sources.

mod checks;
pub(crate) mod csi;
pub(crate) mod json;
pub(crate) mod poses;

/// The default of `idle_timeout_ms`.
pub(crate) fn default_idle_timeout_ms() -> u32 {
    30_000
}

/// The default of `max_ahead_ms`.
pub(crate) fn default_max_ahead_ms() -> u32 {
    60_000
}
