//! The wall clock.

use chrono::{DateTime, Utc};

/// The current time in seconds since the Unix epoch, for credentials.
pub(crate) fn now_s() -> u64 {
    now().timestamp().unsigned_abs()
}

/// The current time, for responses.
#[expect(clippy::disallowed_methods, reason = "responses contain the server's time")]
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}
