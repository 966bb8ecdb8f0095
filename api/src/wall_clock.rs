//! The wall clock.

use chrono::{DateTime, Utc};

/// The current time, for responses.
#[expect(clippy::disallowed_methods, reason = "responses contain the server's time")]
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}
