//! Users.

use crate::{PasswordHash, Role};

/// The rate limit tier of users and API keys for which no other tier is chosen.
pub const DEFAULT_TIER: &str = "authenticated";

/// A user, as stored.
#[derive(Clone, Debug)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The hash of the password.
    pub password: PasswordHash,
    /// The role.
    pub role: Role,
    /// The tier of the user's rate limits.
    pub tier: String,
    /// The time when the user was added, in seconds since the Unix epoch.
    pub created_at_s: u64,
}
