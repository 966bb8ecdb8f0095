//! The settings of sources.

pub(crate) mod checks;
pub(crate) mod csi;
pub(crate) mod json;
pub(crate) mod poses;
pub(crate) mod settings;

use schemas::TimeSpan;

/// The default of `idle_timeout`.
pub(crate) fn default_idle_timeout() -> TimeSpan {
    TimeSpan::from_s(30)
}

/// The default of `max_ahead`.
pub(crate) fn default_max_ahead() -> TimeSpan {
    TimeSpan::from_s(60)
}
