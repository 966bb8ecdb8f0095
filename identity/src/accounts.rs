//! All accounts of a server, as they were at one moment.

use std::collections::HashMap;

use crate::{
    AccessToken, ApiKey, CredentialError, Principal, PrincipalKind, Secret, Session, User,
};

/// The users, API keys and sessions that a server knows.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: HashMap<String, User>,
    keys: HashMap<String, ApiKey>,
    sessions: HashMap<String, Session>,
}

impl Accounts {
    /// Takes the accounts of a store.
    pub fn new(users: Vec<User>, keys: Vec<ApiKey>, sessions: Vec<Session>) -> Self {
        Self {
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            keys: keys.into_iter().map(|key| (key.id.clone(), key)).collect(),
            sessions: sessions.into_iter().map(|session| (session.id.clone(), session)).collect(),
        }
    }

    /// Returns a user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Returns a session that has not expired.
    pub fn session(&self, id: &str, now_s: u64) -> Option<&Session> {
        self.sessions.get(id).filter(|session| session.is_alive(now_s))
    }

    /// Returns the user of a session.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Revoked`] if the session has ended, or the user is gone.
    pub fn user_of(&self, session: &str, now_s: u64) -> Result<User, CredentialError> {
        let session = self.session(session, now_s);
        let user = session.and_then(|session| self.user(&session.user));
        user.cloned().ok_or(CredentialError::Revoked)
    }

    /// Returns the principal of an API key.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if the key is unknown or has expired.
    pub fn of_key(&self, secret: &Secret, now_s: u64) -> Result<Principal, CredentialError> {
        let key = self.keys.get(secret.id()).ok_or(CredentialError::Revoked)?;
        key.check(secret, now_s)?;
        Ok(Principal {
            kind: PrincipalKind::ApiKey,
            name: key.id.clone(),
            scopes: key.scopes,
            tier: key.tier.clone(),
            session: None,
        })
    }

    /// Returns the principal of an access token whose signature was checked. Its user and its session must
    /// still be there, and the user may have lost scopes since.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Revoked`] if the session has ended.
    pub fn of_token(&self, token: &AccessToken, now_s: u64) -> Result<Principal, CredentialError> {
        let session = self.session(&token.sid, now_s).ok_or(CredentialError::Revoked)?;
        let mut principal = self.of_session(session)?;
        if principal.name != token.sub {
            return Err(CredentialError::Revoked);
        }
        principal.scopes = principal.scopes.intersection(token.scope);
        Ok(principal)
    }

    /// Returns the principal of the cookie of a session.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if the session has ended.
    pub fn of_cookie(&self, secret: &Secret, now_s: u64) -> Result<Principal, CredentialError> {
        let session = self.session(secret.id(), now_s).ok_or(CredentialError::Revoked)?;
        if !secret.has_hash(&session.hash) {
            return Err(CredentialError::Invalid);
        }
        self.of_session(session)
    }

    fn of_session(&self, session: &Session) -> Result<Principal, CredentialError> {
        let user = self.user(&session.user).ok_or(CredentialError::Revoked)?;
        Ok(Principal {
            kind: PrincipalKind::User,
            name: user.name.clone(),
            scopes: user.role.scopes(),
            tier: user.tier.clone(),
            session: Some(session.id.clone()),
        })
    }
}
