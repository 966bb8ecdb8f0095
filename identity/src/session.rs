//! Sessions: what begins when a user signs in. A session has a refresh token, or a cookie of a browser.

use std::time::Duration;

use crate::Secret;

/// How long a session lasts.
pub const REFRESH_TTL: Duration = Duration::from_hours(7 * 24);

/// A session, as stored. It ends when it expires, or when it is removed.
#[derive(Clone, Debug)]
pub struct Session {
    /// The id, which is part of its secret and of its access tokens.
    pub id: String,
    /// The user.
    pub user: String,
    /// The hash of its newest refresh token, or of its cookie.
    pub hash: String,
    /// The time when it expires, in seconds since the Unix epoch.
    pub expires_at_s: u64,
}

impl Session {
    /// Begins a session of a user.
    pub fn begin(user: &str, secret: &Secret, now_s: u64) -> Self {
        Self {
            id: secret.id().to_owned(),
            user: user.to_owned(),
            hash: secret.hash(),
            expires_at_s: now_s + REFRESH_TTL.as_secs(),
        }
    }

    /// True until the session expires.
    pub fn is_alive(&self, now_s: u64) -> bool {
        now_s < self.expires_at_s
    }
}
