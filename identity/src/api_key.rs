//! API keys, for programs.

use crate::{CredentialError, Scopes, Secret};

/// An API key, as stored: its hash, and what it allows.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The id, which is part of the key.
    pub id: String,
    /// The hash of the key.
    pub hash: String,
    /// What the key is for.
    pub name: String,
    /// What the key allows.
    pub scopes: Scopes,
    /// The tier of its rate limits.
    pub tier: String,
    /// The time when the key was made, in seconds since the Unix epoch.
    pub created_at_s: u64,
    /// The time when the key expires, in seconds since the Unix epoch; absent if it does not.
    pub expires_at_s: Option<u64>,
}

impl ApiKey {
    /// Checks a key that a client has sent.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if it is another key, or if it has expired.
    pub fn check(&self, secret: &Secret, now_s: u64) -> Result<(), CredentialError> {
        if !secret.has_hash(&self.hash) {
            return Err(CredentialError::Invalid);
        }
        match self.expires_at_s {
            Some(expires_at_s) if expires_at_s <= now_s => Err(CredentialError::Expired),
            _ => Ok(()),
        }
    }
}
